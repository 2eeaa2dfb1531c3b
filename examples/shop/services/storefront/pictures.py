"""A drawing of each product, as SVG: nothing has to be fetched from anywhere."""

from __future__ import annotations

# Two colours for the ground, and the drawing in a box of 120 by 90.
_DRAWINGS = {
    "mug": ("#8fd3d1", "#2a7f8e", (
        '<path d="M40 30h36v28a10 10 0 0 1-10 10H50a10 10 0 0 1-10-10z" fill="#f7fbfa"/>'
        '<path d="M76 37h6a8 8 0 0 1 0 16h-6" fill="none" stroke="#f7fbfa" stroke-width="5"/>'
        '<path d="M40 46q9-6 18 0t18 0v12a10 10 0 0 1-10 10H50a10 10 0 0 1-10-10z" fill="#3fa7b5"/>'
        '<path d="M50 24q-4-4 0-8m10 8q-4-4 0-8" fill="none" stroke="#f7fbfa" stroke-width="2.5" opacity=".8"/>')),
    "lamp": ("#ffd9a0", "#d9793d", (
        '<path d="M46 20h28l12 32H34z" fill="#fff6e4"/><path d="M53 20l-6 32m20-32l6 32M60 20v32" stroke="#f0c88c"/>'
        '<path d="M57 52h6v16h-6z" fill="#7a4325"/><rect x="44" y="68" width="32" height="5" rx="2.5" fill="#7a4325"/>')),
    "clock": ("#b9c9f2", "#4257a8", (
        '<circle cx="60" cy="45" r="29" fill="#f8f9ff"/><circle cx="60" cy="45" r="29" fill="none" stroke="#26346e"'
        ' stroke-width="4"/><path d="M35 52q6-5 12.5 0t12.5 0 12.5 0 12.5 0a26 26 0 0 1-50 0z" fill="#7f96e0"/>'
        '<path d="M60 45V25" stroke="#26346e" stroke-width="4" stroke-linecap="round"/>'
        '<circle cx="60" cy="45" r="3.5" fill="#26346e"/>')),
    "hammock": ("#cfe8b0", "#4f8f4a", (
        '<path d="M24 74V22m72 52V22" stroke="#6a4a2c" stroke-width="5" stroke-linecap="round"/>'
        '<path d="M24 28q36 56 72 0l-8 5q-28 30-56 0z" fill="#fff3df"/>'
        '<path d="M33 37q27 31 54 0M29 33q31 42 62 0" fill="none" stroke="#e08e5a" stroke-width="2.5"/>')),
    "compass": ("#f4d8b4", "#96693a", (
        '<circle cx="60" cy="48" r="27" fill="#fffaf0" stroke="#5f3f1e" stroke-width="4"/>'
        '<path d="M60 26l6 22h-12z" fill="#c8442f"/><path d="M60 70l-6-22h12z" fill="#5f3f1e"/>'
        '<rect x="54" y="12" width="12" height="8" rx="4" fill="#5f3f1e"/>')),
    "notebook": ("#f6c8cb", "#a8485c", (
        '<rect x="38" y="16" width="46" height="60" rx="4" fill="#fff7f6"/>'
        '<rect x="38" y="16" width="10" height="60" rx="3" fill="#7d2c40"/>'
        '<path d="M56 32h20M56 42h20M56 52h13" stroke="#d98f9b" stroke-width="3" stroke-linecap="round"/>')),
    "kite": ("#c3e4fb", "#3c83bd", (
        '<path d="M66 12l22 24-30 26-12-30z" fill="#fff"/><path d="M66 12L58 62M46 32l42 4" stroke="#d2603a"'
        ' stroke-width="2.5"/><path d="M66 12l22 24-27 3z" fill="#f08a5d"/>'
        '<path d="M58 62q-12 4-10 12t-14 6" fill="none" stroke="#fff" stroke-width="2.5"/>')),
    "shell": ("#f3d6ea", "#9a5b8c", (
        '<path d="M60 74q-34-12-30-36 12-22 30-22t30 22q4 24-30 36z" fill="#fff5fb"/>'
        '<path d="M60 74V17M60 74L43 23m17 51l17-51M60 74L33 34m27 40l27-40" stroke="#c88fb8" stroke-width="2.5"/>')),
}  # fmt: skip
_OTHER = ("#d8dee4", "#7b8794", '<rect x="40" y="26" width="40" height="38" rx="4" fill="#fff"/>')


def picture(sku: str, where: str = "shelf") -> str:
    """The drawing, once for each *where* of a page; the name beside it says what it is, so readers pass it over."""
    light, dark, drawing = _DRAWINGS.get(sku, _OTHER)
    ground = f"{where}-{sku if sku in _DRAWINGS else 'other'}"
    return (
        '<svg class="picture" viewBox="0 0 120 90" aria-hidden="true" focusable="false">'
        f'<defs><linearGradient id="{ground}" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="{light}"/>'
        f'<stop offset="1" stop-color="{dark}"/></linearGradient></defs>'
        f'<rect width="120" height="90" fill="url(#{ground})"/>{drawing}</svg>'
    )
