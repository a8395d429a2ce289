/**
 * The training runs that this page has seen, newest for each node. They outlive the nodes: the editor makes new ones
 * whenever a workflow is opened, switched to or undone.
 */

const MOST_POINTS = 2000; // of a curve; beyond, neighbours become one

/**
 * The event that the server sends (nodes/training/live.py).
 * @typedef {object} TrainEvent
 * @property {string} node id of the node that trains
 * @property {string | null} workflow id of the workflow that it was queued from; null where a script queued it
 * @property {number} step 0 when the run begins, before its pictures are encoded
 * @property {number} steps
 * @property {[number, number][]} losses step and loss of every step since the event before
 * @property {[number, number][]} validation step and loss on held-out pictures, where it was measured since then
 * @property {string} warning of a run that does not go well; else empty
 * @property {boolean} ended no more steps will come, all of them made or not
 * @property {number} learning_rate
 * @property {number} seconds_per_step
 */

/** @typedef {"preparing" | "running" | "finished" | "interrupted" | "failed" | "stopped"} State */

/**
 * @typedef {object} Run
 * @property {string} workflow
 * @property {string} node
 * @property {State} state
 * @property {string} message why it failed
 * @property {string} warning of a run that does not go well; else empty
 * @property {number} step
 * @property {number} steps
 * @property {number} loss of the last step
 * @property {number} learningRate
 * @property {number} secondsPerStep running mean
 * @property {number} seconds in all steps so far
 * @property {[number, number][]} points step and loss; each stands for `stride` steps
 * @property {number} stride
 * @property {number[]} waiting losses that do not fill a point yet
 * @property {[number, number][]} validation step and loss on held-out pictures
 */

export class Runs {
  /** @type {Map<string, Run>} */
  #runs = new Map();

  /**
   * Take in one event. A run that begins takes the place of the node's last one.
   * @param {TrainEvent} event
   * @returns {Run | undefined} undefined for a run that no editor queued: its node ids mean nothing here
   */
  record(event) {
    if (event.workflow == null) return undefined;
    const key = `${event.workflow} ${event.node}`;
    const known = this.#runs.get(key);
    const run = known && goesOn(known, event) ? known : newRun(event);
    this.#runs.set(key, run);
    if (event.step > 0) advance(run, event);
    return run;
  }

  /**
   * The prompt ended: so did its runs that had not.
   * @param {State} state
   * @param {string} [message]
   * @returns {Run[]} the runs that ended
   */
  end(state, message = "") {
    const ended = [...this.#runs.values()].filter((run) => run.state === "preparing" || run.state === "running");
    for (const run of ended) Object.assign(run, { state, message });
    return ended;
  }

  /** @param {string} workflow */
  ofWorkflow(workflow) {
    return [...this.#runs.values()].filter((run) => run.workflow === workflow);
  }
}

/** @param {Run} run @param {TrainEvent} event */
function goesOn(run, event) {
  const active = run.state === "preparing" || run.state === "running";
  return active && (event.step > run.step || (event.ended && event.step === run.step));
}

/** @param {TrainEvent} event @returns {Run} */
function newRun({ workflow, node, steps }) {
  const numbers = { step: 0, loss: NaN, learningRate: NaN, secondsPerStep: NaN, seconds: 0 };
  return { workflow, node, steps, state: "preparing", message: "", warning: "", ...numbers, points: [], stride: 1, waiting: [], validation: [] };
}

/** @param {Run} run @param {TrainEvent} event */
function advance(run, event) {
  for (const [step, loss] of event.losses) addPoint(run, step, loss);
  run.warning = event.warning;
  run.validation.push(...event.validation);
  const seconds = event.seconds_per_step;
  run.step = event.step;
  run.state = event.ended ? "finished" : "running";
  run.loss = event.losses.at(-1)?.[1] ?? run.loss;
  run.learningRate = event.learning_rate;
  if (event.losses.length) run.secondsPerStep = pace(run.secondsPerStep, seconds);
  run.seconds += seconds * event.losses.length;
}

/** @param {number} before NaN where there was none @param {number} now */
function pace(before, now) {
  return Number.isNaN(before) ? now : 0.8 * before + 0.2 * now;
}

/** @param {Run} run @param {number} step @param {number} loss */
function addPoint(run, step, loss) {
  run.waiting.push(loss);
  if (run.waiting.length < run.stride) return;
  run.points.push([step, mean(run.waiting)]);
  run.waiting = [];
  if (run.points.length >= MOST_POINTS) halve(run);
}

/** @param {Run} run */
function halve(run) {
  const first = run.points.filter((_, place) => place % 2 === 0);
  const second = run.points.filter((_, place) => place % 2 === 1);
  run.points = second.map(([step, loss], place) => [step, mean([first[place][1], loss])]);
  run.stride *= 2;
}

/** @param {number[]} values */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
