// Follows an order: server-sent events, which the browser takes up again by itself when they end.
"use strict";

const steps = document.querySelector("[data-order]");
const now = document.querySelector("#now");
const line = document.querySelector("#line");
const events = new EventSource(`/orders/${steps.dataset.order}/events`);

events.addEventListener("open", () => { line.textContent = "This page follows your order."; });
events.addEventListener("error", () => { line.textContent = "Connecting again…"; });
events.addEventListener("gone", () => {
  events.close();
  line.textContent = "We lost sight of this order: its process was replaced.";
});
events.addEventListener("status", (event) => {
  const { status, label } = JSON.parse(event.data);
  let reached = false;
  for (const step of steps.children) {
    const current = step.dataset.state === status;
    step.classList.toggle("done", !reached);
    step.toggleAttribute("aria-current", false);
    if (current) step.setAttribute("aria-current", "step");
    reached ||= current;
  }
  now.textContent = `${label}.`;
  if (status === "delivered") {
    events.close();
    line.textContent = "";
  }
});
