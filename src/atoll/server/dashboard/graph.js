// The call graph, drawn in layers from left to right: callers before callees, outside hosts last.

import { element, shape } from "./drawing.js";

const BOX = { width: 132, height: 38 }, GAP = { x: 76, y: 18 }, EDGE = 10, SWEEPS = 6;

// Calls that lead back to where the walk came from; without them the graph has no circle.
function backward(nodes, callees) {
  const state = new Map(), back = new Set();
  const visit = (node) => {
    state.set(node, "open");
    for (const callee of callees.get(node)) {
      if (state.get(callee) === "open") back.add(`${node}\n${callee}`);
      else if (!state.has(callee)) visit(callee);
    }
    state.set(node, "done");
  };
  for (const node of nodes) if (!state.has(node)) visit(node);
  return back;
}

function layers(nodes, edges) {
  const callees = new Map(nodes.map((node) => [node, []]));
  for (const { caller, callee } of edges) callees.get(caller)?.push(callee);
  const back = backward(nodes, callees);
  const forward = edges.filter(({ caller, callee }) => !back.has(`${caller}\n${callee}`));
  const depth = new Map(nodes.map((node) => [node, 0]));
  for (let moved = true, rounds = 0; moved && rounds <= nodes.length; rounds++) {
    moved = false;
    for (const { caller, callee } of forward) {
      if (depth.get(callee) <= depth.get(caller)) {
        depth.set(callee, depth.get(caller) + 1);
        moved = true;
      }
    }
  }
  const called = new Set(forward.map((edge) => edge.callee)), calls = new Set(forward.map((edge) => edge.caller));
  const deepest = Math.max(0, ...depth.values());
  for (const node of nodes) {
    if (node.includes("://")) depth.set(node, deepest);
    // Who is called by nobody stands right before the first one it calls, not far away at the left.
    else if (!called.has(node) && calls.has(node) && node !== "gateway") {
      depth.set(node, Math.min(...forward.filter((e) => e.caller === node).map((e) => depth.get(e.callee))) - 1);
    }
  }
  const columns = Array.from({ length: deepest + 1 }, () => []);
  for (const node of nodes) columns[depth.get(node)].push(node);
  return columns.filter((column) => column.length);
}

// Fewer crossings: each column is sorted by where its neighbours stand, back and forth (barycentre heuristic).
function untangle(columns, edges) {
  const place = new Map();
  const note = (column) => column.forEach((node, i) => place.set(node, i - (column.length - 1) / 2));
  columns.forEach(note);
  const centre = (node) => {
    const near = edges.filter((e) => e.caller === node || e.callee === node)
      .map((e) => place.get(e.caller === node ? e.callee : e.caller));
    return near.length ? near.reduce((a, b) => a + b, 0) / near.length : place.get(node);
  };
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (const column of sweep % 2 ? [...columns].reverse() : columns) {
      const by = new Map(column.map((node) => [node, centre(node)]));
      column.sort((a, b) => by.get(a) - by.get(b));
      note(column);
    }
  }
}

function places(columns) {
  const tallest = Math.max(...columns.map((column) => column.length));
  const height = tallest * (BOX.height + GAP.y) - GAP.y;
  const at = new Map();
  columns.forEach((column, i) => {
    const top = (height - (column.length * (BOX.height + GAP.y) - GAP.y)) / 2;
    column.forEach((node, j) => at.set(node, {
      x: EDGE + i * (BOX.width + GAP.x), y: EDGE + top + j * (BOX.height + GAP.y),
    }));
  });
  return { at, width: columns.length * (BOX.width + GAP.x) - GAP.x + 2 * EDGE, height: height + 2 * EDGE };
}

function curve(from, to) {
  const start = { x: from.x + BOX.width, y: from.y + BOX.height / 2 }, end = { x: to.x - 5, y: to.y + BOX.height / 2 };
  if (to.x > from.x) {
    const bend = Math.max(24, (end.x - start.x) / 2);
    return `M${start.x} ${start.y}C${start.x + bend} ${start.y} ${end.x - bend} ${end.y} ${end.x} ${end.y}`;
  }
  // Back to the left or within a column: around the outside.
  return `M${start.x} ${start.y}C${start.x + 60} ${start.y} ${end.x - 60} ${end.y} ${end.x} ${end.y}`;
}

function clipped(name) {
  const text = name.replace(/^https?:\/\//, "").replace(/:(80|443)$/, "");
  return text.length > 17 ? `${text.slice(0, 16)}…` : text;
}

const allowed = (edge) => `${edge.caller} calls ${edge.callee} within ${edge.timeout} s, ${edge.retries} retries`;

export function drawGraph(into, { nodes, edges }) {
  if (!edges.length) {
    into.replaceChildren(element("p", { class: "quiet" }, "No calls are declared."));
    return;
  }
  const joined = nodes.filter((n) => n !== "gateway" || edges.some((e) => e.caller === n));
  const columns = layers(joined, edges);
  untangle(columns, edges);
  const { at, width, height } = places(columns);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" },
    shape("defs", {}, shape("marker", { id: "tip", viewBox: "0 0 8 8", refX: 5, refY: 4, markerWidth: 7, markerHeight: 7,
      orient: "auto-start-reverse" }, shape("path", { d: "M0 0.8 7 4 0 7.2z" }))),
    ...edges.map((edge) => shape("path", { class: "call", d: curve(at.get(edge.caller), at.get(edge.callee)),
      "marker-end": "url(#tip)", "data-caller": edge.caller, "data-callee": edge.callee },
      shape("title", {}, allowed(edge)))),
    ...joined.map((node) => shape("g", { class: "node", "data-node": node,
      transform: `translate(${at.get(node).x} ${at.get(node).y})` },
      shape("title", {}, node),
      shape("rect", { width: BOX.width, height: BOX.height, rx: 8 }),
      shape("circle", { cx: 15, cy: BOX.height / 2, r: 4 }),
      shape("text", { x: 27, y: BOX.height / 2 + 4 }, clipped(node)))));
  const words = element("ul", { class: "unseen" }, ...edges.map((edge) => element("li", {}, allowed(edge))));
  into.replaceChildren(svg, words);
  for (const group of svg.querySelectorAll(".node")) {
    group.addEventListener("pointerenter", () => highlight(svg, group.dataset.node));
    group.addEventListener("pointerleave", () => highlight(svg, null));
  }
}

function highlight(svg, node) {
  svg.classList.toggle("picked", node !== null);
  for (const call of svg.querySelectorAll(".call")) {
    call.classList.toggle("on", call.dataset.caller === node || call.dataset.callee === node);
  }
}

// Gives every box the colour of its service's state.
export function colourGraph(into, words) {
  for (const group of into.querySelectorAll(".node")) {
    const kind = group.dataset.node.includes("://") ? "outside" : words.get(group.dataset.node) ?? "gateway";
    group.dataset.state = kind;
  }
}
