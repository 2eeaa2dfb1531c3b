// Charges cards, once for each Idempotency-Key: a charge's id comes from the key, so that every instance gives the
// same answer to the same request. The bank is make-believe; DELAY_MS says how slow it is.
"use strict";

const { createHash } = require("node:crypto");
const http = require("node:http");

const DELAY_MS = Number(process.env.DELAY_MS ?? 20);
const BIGGEST_BODY = 64 * 1024;
const DECLINED = new Set(["card-declined"]);
let stopping = false;

function send(response, status, value, id) {
  const body = JSON.stringify(value);
  const headers = { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
  if (id) headers["X-Request-Id"] = id;
  if (stopping) headers.Connection = "close";
  response.writeHead(status, headers).end(body);
}

async function read(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > BIGGEST_BODY) return null;
    parts.push(part);
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString("utf8"));
  } catch {
    return null;
  }
}

function valid(charge) {
  return (
    charge !== null && typeof charge === "object" && typeof charge.card === "string" &&
    typeof charge.order === "string" && Number.isInteger(charge.amount) && charge.amount > 0 &&
    charge.currency === "EUR"
  );
}

async function charge(request, response, id) {
  const key = request.headers["idempotency-key"];
  const wanted = await read(request);
  if (!key) return send(response, 400, { error: "an Idempotency-Key is needed" }, id);
  if (!valid(wanted)) return send(response, 422, { error: "order, amount in cents, currency EUR, card" }, id);
  await new Promise((done) => setTimeout(done, DELAY_MS));
  if (DECLINED.has(wanted.card)) return send(response, 402, { error: "declined" }, id);
  const number = createHash("sha256").update(key).digest("hex").slice(0, 16);
  return send(response, 201, { id: `ch_${number}`, order: wanted.order, amount: wanted.amount, currency: "EUR" }, id);
}

async function answer(request, response) {
  const began = performance.now();
  const id = request.headers["x-request-id"];
  const { pathname } = new URL(request.url, "http://payments");
  if (pathname === "/healthz") return send(response, 200, { status: "ok" });
  response.on("finish", () => {
    const took = (performance.now() - began).toFixed(1);
    console.log(`${request.method} ${pathname} ${response.statusCode} ${took}ms id=${id ?? ""}`);
  });
  if (pathname === "/charges" && request.method === "POST") return charge(request, response, id);
  return send(response, 404, { error: "nothing here" }, id);
}

const server = http.createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error);
    if (!response.headersSent) send(response, 500, { error: "this is our mistake" });
    else response.destroy();
  });
});
server.keepAliveTimeout = 0; // who opened a connection closes it: no request meets a connection that just ended

server.listen({ host: process.env.HOST ?? "0.0.0.0", port: Number(process.env.PORT ?? 8000), backlog: 256 }, () => {
  const { address, port } = server.address();
  console.log(`listening on ${address}:${port}`);
});

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => {
    stopping = true;
    server.close(() => console.log("ended")); // accepts nothing new, waits for what is open
    server.closeIdleConnections();
  });
}
