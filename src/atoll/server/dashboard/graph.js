// The call graph, drawn in layers from left to right: callers before callees, outside hosts last. The steps are those
// of Sugiyama, Tagawa and Toda (1981): break circles, layer, give long edges a lane in each layer, untangle, place.

import { element, shape } from "./drawing.js";

const BOX = { width: 148, height: 38 }, LANE = 10, GAP = { x: 64, y: 16 }, EDGE = 6, SWEEPS = 8;

const allowed = (edge) => `${edge.caller} calls ${edge.callee} within ${edge.timeout} s, ${edge.retries} retries`;

function isOutside(node) { return node.includes("://"); }

// Calls that lead back to where the walk came from; without them the graph has no circle.
function backward(nodes, edges) {
  const callees = new Map(nodes.map((node) => [node, []]));
  for (const edge of edges) callees.get(edge.caller).push(edge);
  const state = new Map(), back = new Set();
  const visit = (node) => {
    state.set(node, "open");
    for (const edge of callees.get(node)) {
      if (state.get(edge.callee) === "open") back.add(edge);
      else if (!state.has(edge.callee)) visit(edge.callee);
    }
    state.set(node, "done");
  };
  nodes.forEach((node) => state.has(node) || visit(node));
  return back;
}

function depths(nodes, forward) {
  const depth = new Map(nodes.map((node) => [node, 0]));
  for (let moved = true; moved;) {
    moved = false;
    for (const { caller, callee } of forward) {
      if (depth.get(callee) <= depth.get(caller)) {
        depth.set(callee, depth.get(caller) + 1);
        moved = true;
      }
    }
  }
  const deepest = Math.max(0, ...depth.values());
  const called = new Set(forward.map((edge) => edge.callee));
  for (const node of nodes) {
    const first = Math.min(...forward.filter((e) => e.caller === node).map((e) => depth.get(e.callee)));
    if (isOutside(node)) depth.set(node, deepest);
    // Who is called by nobody stands right before the first one it calls, not far away at the left.
    else if (!called.has(node) && node !== "gateway" && first < Infinity) depth.set(node, first - 1);
  }
  return depth;
}

// Columns of nodes and of lanes, and for each edge the stops on its way.
function layered(nodes, edges) {
  const back = backward(nodes, edges);
  const depth = depths(nodes, edges.filter((edge) => !back.has(edge)));
  const columns = Array.from({ length: Math.max(0, ...depth.values()) + 1 }, () => []);
  nodes.forEach((node) => columns[depth.get(node)].push(node));
  const ways = edges.map((edge) => {
    const way = [edge.caller];
    for (let i = depth.get(edge.caller) + 1; i < depth.get(edge.callee); i++) {
      const lane = `${edge.caller}\n${edge.callee}\n${i}`;
      columns[i].push(lane);
      way.push(lane);
    }
    return { edge, way: [...way, edge.callee] };
  });
  return { columns, ways };
}

// Fewer crossings: each column is sorted by where its neighbours stand, back and forth (barycentre heuristic).
function untangle(columns, ways) {
  const near = new Map(columns.flat().map((node) => [node, []]));
  for (const { way } of ways) {
    way.slice(1).forEach((node, i) => { near.get(node).push(way[i]); near.get(way[i]).push(node); });
  }
  const place = new Map();
  const note = (column) => column.forEach((node, i) => place.set(node, (i + 0.5) / column.length));
  columns.forEach(note);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (const column of sweep % 2 ? [...columns].reverse() : columns) {
      const centre = new Map(column.map((node) => {
        const around = near.get(node).map((other) => place.get(other));
        return [node, around.length ? around.reduce((a, b) => a + b) / around.length : place.get(node)];
      }));
      column.sort((a, b) => centre.get(a) - centre.get(b));
      note(column);
    }
  }
}

const isLane = (node) => node.includes("\n");
const tall = (node) => (isLane(node) ? LANE : BOX.height);

// The left end of the middle line of every node and lane.
function places(columns) {
  const heights = columns.map((column) => column.reduce((sum, node) => sum + tall(node) + GAP.y, -GAP.y));
  const height = Math.max(...heights);
  const at = new Map();
  columns.forEach((column, i) => {
    let y = EDGE + (height - heights[i]) / 2;
    for (const node of column) {
      at.set(node, { x: EDGE + i * (BOX.width + GAP.x), y: y + tall(node) / 2 });
      y += tall(node) + GAP.y;
    }
  });
  return { at, width: columns.length * (BOX.width + GAP.x) - GAP.x + 2 * EDGE, height: height + 2 * EDGE };
}

function curve(way, at) {
  const first = at.get(way[0]);
  let path = `M${first.x + BOX.width} ${first.y}`, from = { x: first.x + BOX.width, y: first.y };
  way.slice(1).forEach((node) => {
    const to = at.get(node), end = { x: to.x - (isLane(node) ? 0 : 4), y: to.y };
    const bend = end.x > from.x ? (end.x - from.x) / 2 : 60;  // back to the left: around the outside
    path += `C${from.x + bend} ${from.y} ${end.x - bend} ${end.y} ${end.x} ${end.y}`;
    if (isLane(node)) path += `H${to.x + BOX.width}`;
    from = { x: to.x + BOX.width, y: to.y };
  });
  return path;
}

function clipped(name) {
  const text = name.replace(/^https?:\/\//, "").replace(/:(80|443)$/, "");
  return text.length > 17 ? `${text.slice(0, 16)}…` : text;
}

const drawCall = ({ edge, way }, at) =>
  shape("path", { class: "call", d: curve(way, at), "marker-end": "url(#tip)", "data-caller": edge.caller,
    "data-callee": edge.callee }, shape("title", {}, allowed(edge)));

const drawNode = (node, { x, y }) =>
  shape("g", { class: "node", "data-node": node, transform: `translate(${x} ${y - BOX.height / 2})` },
    shape("title", {}, node),
    shape("rect", { width: BOX.width, height: BOX.height, rx: 8 }),
    shape("circle", { cx: 15, cy: BOX.height / 2, r: 4 }),
    shape("text", { x: 27, y: BOX.height / 2 + 4 }, clipped(node)));

const tip = () =>
  shape("defs", {}, shape("marker", { id: "tip", viewBox: "0 0 8 8", refX: 5, refY: 4, markerWidth: 7, markerHeight: 7,
    orient: "auto" }, shape("path", { d: "M0 0.8 7 4 0 7.2z" })));

export function drawGraph(into, { nodes, edges }) {
  if (!edges.length) {
    into.replaceChildren(element("p", { class: "quiet" }, "No calls are declared."));
    return;
  }
  const joined = nodes.filter((node) => node !== "gateway" || edges.some((edge) => edge.caller === node));
  const { columns, ways } = layered(joined, edges);
  untangle(columns, ways);
  const { at, width, height } = places(columns);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" }, tip(),
    ...ways.map((way) => drawCall(way, at)), ...joined.map((node) => drawNode(node, at.get(node))));
  into.replaceChildren(svg, element("ul", { class: "unseen" }, ...edges.map((edge) => element("li", {}, allowed(edge)))));
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
export function colourGraph(into, states) {
  for (const group of into.querySelectorAll(".node")) {
    const node = group.dataset.node;
    group.dataset.state = isOutside(node) ? "outside" : states.get(node) ?? "gateway";
  }
}
