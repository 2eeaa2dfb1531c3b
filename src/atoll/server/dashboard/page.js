// The page: listens to the stream while it can be seen, and shows what it hears.

import { age, bytes, clock, element, emptySparkline, keep, milliseconds, percent, rate, say, sparkline } from "./drawing.js";
import { colourGraph, drawGraph } from "./graph.js";

const SPAN = 300;          // seconds of sparkline
const EVENTS = 200;        // events shown
const LINES = 1000;        // log lines kept
const $ = (id) => document.getElementById(id);

const FIGURES = [
  { name: "cpu", form: percent, floor: 0.1 },
  { name: "memory", form: bytes, floor: 2 ** 24 },
  { name: "rps", form: rate, floor: 1, label: "req/s" },
  { name: "p99", form: milliseconds, floor: 10 },
  { name: "errors", form: percent, floor: 0.01 },
];

let status = null, wasWanted = null, chosen = "";
const history = new Map();

// --- status -----------------------------------------------------------------------------------------------------------

function stateOf(service) {
  if (service.target !== null) return "moving";
  if (service.ready === service.wanted) return "good";
  return service.ready ? "weak" : "bad";
}

function showStatus(view) {
  status = view;
  document.title = `${view.converged || !view.services.length ? "" : "● "}${view.system || "Atoll"}`;
  say($("system"), view.system || "Atoll");
  showVerdict(view);
  showFacts(view);
  showBanners(view);
  for (const service of view.services) remember(service, view.at);
  for (const name of history.keys()) if (!view.services.some((s) => s.name === name)) history.delete(name);
  $("empty").hidden = view.services.length > 0;
  $("services").hidden = !view.services.length;
  keep($("services").tBodies[0], view.services, (s) => s.name, makeRow, updateRow);
  showChoice(view.services);
  showInstances();
  colourGraph($("graph"), new Map(view.services.map((s) => [s.name, stateOf(s)])));
}

function showVerdict(view) {
  const word = !view.services.length ? "nothing is applied" : view.converged ? "as wanted" : "not as wanted yet";
  $("verdict").dataset.state = view.converged ? "good" : view.services.some((s) => stateOf(s) === "bad") ? "bad" : "weak";
  say($("verdict"), word);
  if (wasWanted !== null && wasWanted !== view.converged) announce(`${view.system} is ${word}`);
  wasWanted = view.converged;
}

function showFacts(view) {
  const ready = view.services.reduce((sum, s) => sum + s.ready, 0);
  const facts = [
    ["gateway", view.gateway], ["services", String(view.services.length)],
    ["instances ready", String(ready)], ["generation", String(view.generation)],
  ];
  keep($("facts"), facts, ([name]) => name,
    ([name]) => element("div", {}, element("dt", {}, name), name === "gateway"
      ? element("dd", {}, element("a", { rel: "noreferrer", target: "_blank" })) : element("dd")),
    (node, [name, value]) => {
      const into = name === "gateway" ? node.querySelector("a") : node.lastChild;
      if (name === "gateway") into.href = value;
      say(into, value);
    });
}

function showBanners(view) {
  const change = view.change && view.change.state !== "done" ? [view.change] : [];
  const banners = [
    ...change.map((c) => ({ kind: c.state === "failed" ? "bad" : "moving",
      text: `change ${c.number} (${c.kind}) ${c.state === "failed" ? "failed" : `is ${c.state}`}${c.reason ? `: ${c.reason}` : ""}` })),
    ...view.problems.map((text) => ({ kind: "bad", text })),
    ...view.notes.map((text) => ({ kind: "weak", text })),
  ];
  keep($("banners"), banners, (b) => b.kind + b.text,
    (b) => element("li", { "data-state": b.kind }, b.text), () => {});
}

function remember(service, at) {
  if (!history.has(service.name)) history.set(service.name, []);
  const samples = history.get(service.name);
  samples.push({ at, cpu: service.cpu, memory: service.memory, rps: service.rps, p99: service.p99, errors: service.errors });
  while (samples.length && samples[0].at < at - SPAN) samples.shift();
}

// --- services ---------------------------------------------------------------------------------------------------------

const cell = (label, attributes = {}, ...children) =>
  element("td", { role: "cell", "data-label": label, ...attributes }, ...children);

function makeRow(service) {
  const open = element("button", { type: "button", class: "name", title: "show its instances and logs" }, service.name);
  open.addEventListener("click", () => { choose(service.name); $("panel").scrollIntoView({ behavior: calm() }); });
  return element("tr", { role: "row" },
    element("th", { role: "rowheader", scope: "row" }, open, element("p", { class: "why" })),
    cell("ready", {}, element("span", { class: "ready" }), element("span", { class: "pips", role: "img" })),
    cell("release", { class: "release" }),
    cell("restarts", { class: "figure restarts" }),
    ...FIGURES.map((f) => cell(f.label ?? f.name, { class: `figure ${f.name}` }, element("span"), emptySparkline())));
}

const calm = () => (matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth");

function updateRow(row, service) {
  row.dataset.state = stateOf(service);
  say(row.querySelector(".why"), service.why);
  say(row.querySelector(".ready"), `${service.ready}/${service.wanted}`);
  showPips(row.querySelector(".pips"), service);
  say(row.querySelector(".release"), releases(service));
  say(row.querySelector(".restarts"), String(service.restarts));
  row.querySelector(".errors").dataset.state = service.errors ? "bad" : "good";
  const samples = history.get(service.name);
  for (const figure of FIGURES) {
    const into = row.querySelector(`.${figure.name}`);
    say(into.firstChild, figure.form(service[figure.name]));
    sparkline(into.lastChild, samples.map((s) => [s.at, s[figure.name]]), status.at, SPAN, figure.floor);
  }
}

function releases(service) {
  const on = service.release === null ? "" : String(service.release);
  return service.target === null ? on || "–" : `${on}${on && " "}→ ${service.target}`;
}

function showPips(into, service) {
  const missing = Math.max(0, service.wanted - service.instances.filter((i) => i.state !== "draining" && i.state !== "stopping").length);
  const pips = [...service.instances, ...Array.from({ length: missing }, (_, i) => ({ name: `missing ${i}`, state: "missing", reason: "" }))];
  const words = pips.map((p) => p.state).reduce((counts, s) => counts.set(s, (counts.get(s) ?? 0) + 1), new Map());
  into.setAttribute("aria-label", [...words].map(([state, count]) => `${count} ${state}`).join(", "));
  keep(into, pips, (p) => p.name, () => element("i"), (pip, p) => {
    pip.dataset.state = p.state;
    pip.title = p.state === "missing" ? "not there yet" : `${p.name}: ${p.state}${p.reason ? `: ${p.reason}` : ""}`;
  });
}

// --- releases on their way ----------------------------------------------------------------------------------------------

const MOVES = { holding: "weak", aborting: "bad" };

function showReleases(views) {
  $("releases").hidden = !views.length;
  keep($("releases").querySelector("ul"), views, (v) => `${v.service} ${v.release}`, makeRelease, updateRelease);
}

function makeRelease(view) {
  const beside = view.stable === null ? "" : ` beside ${view.stable}`;
  return element("li", {},
    element("p", {}, element("b", {}, view.service), ` release ${view.release}${beside} `,
      element("span", { class: "pill" }), element("span", { class: "share" })),
    element("div", { class: "meter", role: "meter", "aria-valuemin": "0", "aria-valuemax": "100", "aria-label": "share of traffic" },
      element("i")),
    element("p", { class: "why" }), element("p", { class: "can" }));
}

function updateRelease(item, view) {
  const state = MOVES[view.state] ?? "moving";
  const step = view.step ? `, step ${view.step} of ${view.steps}` : "";
  item.dataset.state = state;
  item.querySelector(".pill").dataset.state = state;
  say(item.querySelector(".pill"), view.state);
  say(item.querySelector(".share"), ` ${view.weight}% of the traffic${step}`);
  item.querySelector(".meter").setAttribute("aria-valuenow", String(view.weight));
  item.querySelector("i").style.width = `${view.weight}%`;
  say(item.querySelector(".why"), view.evidence || view.reason);
  say(item.querySelector(".can"), view.allowed.map((word) => `atoll ${word} ${view.service}`).join("   "));
}

// --- events -----------------------------------------------------------------------------------------------------------

function showEvents(fresh) {
  const first = !$("events").childElementCount;
  for (const event of fresh) {
    const about = event.subject === event.service || !event.subject ? event.service : event.subject;
    $("events").prepend(element("li", { "data-level": event.level },
      element("time", { datetime: new Date(event.at * 1000).toISOString() }, clock(event.at)),
      element("span", { class: "mark", role: "img", "aria-label": event.level }),
      element("b", {}, about), element("span", { class: "text" }, event.text)));
    if (!first && event.level !== "info") announce(`${event.level}: ${about} ${event.text.split("\n")[0]}`);
  }
  while ($("events").childElementCount > EVENTS) $("events").lastElementChild.remove();
}

function announce(text) { $("news").textContent = text; }

// --- one service: its instances and its log -----------------------------------------------------------------------------

function showChoice(services) {
  const gone = chosen && !services.some((s) => s.name === chosen);
  keep($("chosen"), [{ name: "" }, ...services], (s) => s.name,
    (s) => element("option", { value: s.name }, s.name || "all services"), () => {});
  if (gone) choose("");
}

function choose(name) {
  chosen = name;
  $("chosen").value = name;
  say($("panel-title"), name || "Logs");
  showInstances();
  connectLog();
}

const INSTANCE = ["instance", "state", "release", "process", "address", "up", "cpu", "memory"];

function showInstances() {
  const service = status?.services.find((s) => s.name === chosen);
  $("instances").hidden = !service?.instances.length;
  keep($("instances").tBodies[0], service?.instances ?? [], (i) => i.name,
    () => element("tr", { role: "row" }, ...INSTANCE.map((name) =>
      cell(name, name === "cpu" || name === "memory" ? { class: "figure" } : {}))),
    (row, i) => {
      row.dataset.state = i.state;
      const up = i.pid ? age(status.at - i.started_at) : "–";
      const values = [i.name, i.reason ? `${i.state}: ${i.reason}` : i.state, String(i.release), i.pid ? String(i.pid) : "–",
        i.address, up, percent(i.cpu), bytes(i.memory)];
      values.forEach((value, n) => say(row.cells[n], value));
    });
}

let waiting = [];

function hearLine(line) {
  waiting.push(line);
  if (waiting.length > LINES) waiting.shift();
  if (waiting.length === 1) requestAnimationFrame(showLines);
}

function showLines() {
  const log = $("log");
  const fresh = waiting.map((line) => element("div", {},
    element("span", { class: "from" }, line.instance), element("span", {}, line.text)));
  waiting = [];
  log.append(...fresh);
  while (log.childElementCount > LINES) log.firstElementChild.remove();
  if ($("tail").checked) log.scrollTop = log.scrollHeight;
}

// --- connections: open only while somebody looks ------------------------------------------------------------------------

let live = null, log = null;

function connectLive() {
  live = new EventSource("live");
  live.onopen = () => { document.body.dataset.link = "live"; say($("link-words"), "live"); };
  live.onerror = () => {
    document.body.dataset.link = "lost";
    const over = live.readyState === EventSource.CLOSED;
    say($("link-words"), over ? "no longer let in: run `atoll dashboard`" : "the control plane does not answer; trying again");
  };
  live.addEventListener("status", (event) => showStatus(JSON.parse(event.data)));
  live.addEventListener("releases", (event) => showReleases(JSON.parse(event.data)));
  live.addEventListener("graph", (event) => {
    drawGraph($("graph"), JSON.parse(event.data));
    if (status) colourGraph($("graph"), new Map(status.services.map((s) => [s.name, stateOf(s)])));
  });
  let first = true;
  live.addEventListener("journal", (event) => {
    if (first) $("events").replaceChildren();
    first = false;
    showEvents(JSON.parse(event.data));
  });
  live.addEventListener("open", () => { first = true; });
}

function connectLog() {
  log?.close();
  log = new EventSource(chosen ? `logs?service=${encodeURIComponent(chosen)}` : "logs");
  log.addEventListener("start", () => { waiting = []; $("log").replaceChildren(); });
  log.addEventListener("line", (event) => hearLine(JSON.parse(event.data)));
}

function disconnect() {
  live?.close();
  log?.close();
  document.body.dataset.link = "paused";
  say($("link-words"), "paused while hidden");
}

function connect() {
  connectLive();
  connectLog();
}

$("chosen").addEventListener("change", (event) => choose(event.target.value));
document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
addEventListener("pagehide", disconnect);
connect();
