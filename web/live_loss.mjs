/** The live part of a Train node: its loss curve and the numbers of the run, as a DOM widget. */

import { api } from "../../scripts/api.js";
import { path, range, smoothed } from "./curve.mjs";
import { addPart, forwardToCanvas, make } from "./node_parts.mjs";

/** @typedef {import("./runs.mjs").Run} Run */

const HEIGHT = 150; // pixels that the widget asks for; it takes more when the node is made higher

const STATES = {
  preparing: () => "preparing: encoding pictures and captions …",
  running: (run) => `step ${run.step} / ${run.steps}`,
  finished: (run) => `finished: ${run.step} steps`,
  interrupted: (run) => `interrupted at ${at(run)}`,
  failed: (run) => `failed at ${at(run)}`,
  stopped: (run) => `stopped at ${at(run)}`,
};

export class LiveLoss {
  /** @param {object} node the LiteGraph node that gets the widget */
  constructor(node) {
    this.element = make("div", "isengard-live");
    this.state = make("span", "isengard-live-state");
    this.loss = make("span", "isengard-live-loss");
    this.pace = make("span", "isengard-live-pace");
    this.left = make("span", "isengard-live-left");
    this.rate = make("span", "isengard-live-rate");
    this.plot = new Plot();
    this.finish = this.#finishButton();
    const first = row(this.state, this.finish, this.loss);
    this.element.append(first, this.plot.element, row(this.pace, this.left, this.rate));
    this.#addTo(node);
    this.clear();
  }

  clear() {
    this.element.dataset.state = "idle";
    this.element.dataset.points = "0";
    this.state.textContent = "The loss appears here while it trains.";
    for (const text of [this.loss, this.pace, this.left, this.rate]) text.textContent = "";
    this.plot.clear();
  }

  /** @param {Run} run */
  show(run) {
    const begun = run.step > 0;
    this.element.dataset.state = run.state;
    this.element.dataset.points = String(run.points.length);
    this.element.title = run.message || run.warning;
    this.element.dataset.warning = String(Boolean(run.warning));
    this.state.textContent = [STATES[run.state](run), run.warning].filter(Boolean).join(" · ");
    this.loss.textContent = begun ? `loss ${number(run.loss, 4)}` : "";
    this.pace.textContent = begun ? `${number(run.secondsPerStep, 2)} s/step` : "";
    this.left.textContent = begun ? time(run) : "";
    this.rate.textContent = begun ? `lr ${number(run.learningRate, 2)}` : "";
    this.plot.draw(run.points, run.validation);
    if (run.node !== this.node || run.state !== "running") this.finish.disabled = false;
    this.node = run.node;
  }

  /** Ends the run after this step, and lets the graph go on with what it has learned. */
  #finishButton() {
    const button = make("button", "isengard-live-finish");
    button.textContent = "Finish now";
    button.title = "End the training here; the LoRA is made of what was learned, and the graph goes on";
    button.addEventListener("click", async () => {
      button.disabled = true;
      const asked = await askToFinish(this.node);
      if (!asked) button.disabled = false; // it ended meanwhile, or the server is gone
    });
    return button;
  }

  #addTo(node) {
    addPart(node, "live_loss", this.element, { getMinHeight: () => HEIGHT });
    forwardToCanvas(this.element);
  }
}

/** The curve: every step faint, the running mean bold, with the range written at the left. */
class Plot {
  constructor() {
    this.element = make("div", "isengard-live-plot");
    this.raw = line("isengard-live-raw");
    this.smooth = line("isengard-live-smooth");
    this.validation = line("isengard-live-validation");
    this.high = make("span", "isengard-live-high");
    this.low = make("span", "isengard-live-low");
    const drawing = document.createElementNS(SVG, "svg");
    drawing.setAttribute("viewBox", "0 0 100 100");
    drawing.setAttribute("preserveAspectRatio", "none"); // the lines keep their width: see the style
    drawing.append(this.raw, this.smooth, this.validation);
    this.element.append(drawing, this.high, this.low);
  }

  clear() {
    for (const line of [this.raw, this.smooth, this.validation]) line.removeAttribute("d");
    for (const label of [this.high, this.low]) label.textContent = "";
  }

  /** @param {[number, number][]} points step and loss @param {[number, number][]} validation the same, held out */
  draw(points, validation) {
    if (!points.length) return this.clear();
    const steps = points.map(([step]) => step);
    const losses = points.map(([, loss]) => loss);
    const means = smoothed(losses);
    const held = validation.map(([, loss]) => loss);
    const bounds = range([...losses, ...held], [...means, ...held]);
    this.raw.setAttribute("d", path(steps, losses, bounds));
    this.smooth.setAttribute("d", path(steps, means, bounds));
    if (held.length) this.validation.setAttribute("d", path(validation.map(([step]) => step), held, bounds, steps));
    else this.validation.removeAttribute("d");
    this.low.textContent = number(bounds[0], 3);
    this.high.textContent = number(bounds[1], 3);
  }
}

/** @param {string} node @returns {Promise<boolean>} whether the server will end the node's training */
async function askToFinish(node) {
  try {
    const answer = await api.fetchApi("/isengard/train/finish", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ node }),
    });
    return answer.ok;
  } catch {
    return false;
  }
}

const SVG = "http://www.w3.org/2000/svg";

function row(...parts) {
  const element = make("div", "isengard-live-row");
  element.append(...parts);
  return element;
}

function line(name) {
  const element = document.createElementNS(SVG, "path");
  element.setAttribute("class", name);
  return element;
}

/** @param {Run} run */
function at(run) {
  return run.step ? `step ${run.step} / ${run.steps}` : "the start";
}

/** How long the run still takes, or took. @param {Run} run */
function time(run) {
  if (run.state !== "running") return `${clock(run.seconds)} in all`;
  return `${clock((run.steps - run.step) * run.secondsPerStep)} left`;
}

/** @param {number} seconds */
function clock(seconds) {
  const whole = Math.round(seconds);
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(whole / 60) % 60;
  const hours = Math.floor(whole / 3600);
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** As short as it can be read: 0.0712, 15840, 6.7e-5. @param {number} value @param {number} digits */
function number(value, digits) {
  const size = Math.abs(value);
  if (size && (size < 1e-3 || size >= 1e6)) return value.toExponential(digits - 1);
  return String(Number(value.toPrecision(digits)));
}
