// Elements, figures and sparklines. Text goes in as text only: nothing a service writes can become markup.

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

export const element = (tag, attributes = {}, ...children) =>
  filled(document.createElement(tag), attributes, children);

export const shape = (tag, attributes = {}, ...children) =>
  filled(document.createElementNS(SVG, tag), attributes, children);

// Changes the text only where it differs, so that a screen reader hears of changes and selections survive.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Keeps one child per key, in order; makes those that are new, drops those that are gone, updates the rest.
export function keep(parent, items, key, make, update) {
  const there = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let child = there.get(name);
    if (child) there.delete(name);
    else {
      child = make(item);
      child.dataset.key = name;
    }
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
    update(child, item);
  }
  for (const child of there.values()) child.remove();
}

const shown = (form) => (value) => (value === null || value === undefined ? "–" : form(value));

export const percent = shown((v) => `${(v * 100).toFixed(v < 0.0995 && v > 0 ? 1 : 0)}%`);
export const rate = shown((v) => (v >= 1000 ? `${(v / 1000).toFixed(1)}k` : v.toFixed(v < 10 && v > 0 ? 1 : 0)));
export const milliseconds = shown((v) => (v >= 1000 ? `${(v / 1000).toFixed(1)} s` : `${v.toFixed(v < 10 ? 1 : 0)} ms`));
export const bytes = shown((v) => (v >= 2 ** 30 ? `${(v / 2 ** 30).toFixed(1)} Gi` : `${Math.round(v / 2 ** 20)} Mi`));

export const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false });

export function age(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 129600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

const WIDTH = 72, HEIGHT = 18;

// A line over the last minutes, as [at, value] pairs; a gap in time or a missing value is a gap in the line.
export function sparkline(svg, samples, until, span, floor) {
  const known = samples.filter(([, value]) => value !== null);
  const top = Math.max(floor, ...known.map(([, value]) => value));
  const x = (at) => WIDTH * (1 - (until - at) / span);
  const y = (value) => HEIGHT - 1.5 - (HEIGHT - 3) * (value / top);
  let line = "", last = null;
  for (const [at, value] of samples) {
    if (value === null) { last = null; continue; }
    line += `${last !== null && at - last < 10 ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    last = at;
  }
  svg.firstChild.setAttribute("d", line);
}

export const emptySparkline = () =>
  shape("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, "aria-hidden": "true" },
    shape("path", {}));
