/**
 * Sends files to the server as a new data set (nodes/dataset/rest.py): first a list of them, then their bytes, one file
 * after the other, in pieces, and at last the word that all are there. Until then no list shows the data set.
 */

import { api } from "../../scripts/api.js";

/** @typedef {import("./dropped.mjs").Given} Given */
/** @typedef {"preparing" | "sending" | "finishing" | "done" | "failed" | "cancelled"} State */

const ADDRESS = "/isengard/datasets/uploads";
const SMALLEST = 2 ** 18; // bytes of a piece
const LARGEST = 2 ** 24; // what stands between a browser and a server may refuse 100 MB
const SECONDS = 1; // that a piece shall take: long enough to be fast, short enough to show how far it is
const TRIES = 4; // for a piece, where the connection fails
const WAIT = 500; // ms before the second try, then twice as long each time
const LONGEST_WAIT = 5000; // ms
const NOT_THE_SERVER = [502, 503, 504, 524]; // answered in its place
const TIMED_OUT = [504, 524]; // by a proxy: unpacking a large archive may take longer than it waits
const TRIES_FOR_TIME = 60;

/** What the server refused, with its reason. */
class Refused extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class Upload {
  /** @type {State} */
  state = "preparing";
  files = 0; // that are sent
  filesDone = 0;
  bytes = 0;
  bytesDone = 0;
  /** Why it failed. */
  message = "";
  /** @type {{name: string, pictures: number, left_out: string[]} | null} what came of it */
  result = null;
  isChosen = false; // in the node that it was begun on

  /** @param {(upload: Upload) => void} onChange called whenever something above is another */
  constructor(onChange) {
    this.#onChange = () => onChange(this);
  }

  get isRunning() {
    return ["preparing", "sending", "finishing"].includes(this.state);
  }

  /** It ends in one of the states done, failed and cancelled. @param {Promise<Given[]>} given */
  async run(given) {
    try {
      await this.#begin(await given);
      await this.#send();
      this.#change({ state: "finishing" });
      const result = await this.#persist(() => this.#ask("POST", `${ADDRESS}/${this.#id}`, {}));
      this.#change({ state: "done", result });
    } catch (error) {
      this.#stop.abort(); // what else is on its way
      await this.discard();
      if (this.#cancelled) this.#change({ state: "cancelled" });
      else this.#change({ state: "failed", message: error.message });
    }
  }

  /** Where all was sent already, the server may be done with it before it hears of this. */
  cancel() {
    this.#cancelled = true;
    if (this.state === "finishing") this.discard();
    else this.#stop.abort();
  }

  /** Have the server drop what it has. Also when the page goes. */
  async discard() {
    const id = this.#id;
    if (!id) return;
    this.#id = "";
    try {
      await api.fetchApi(`${ADDRESS}/${id}`, { method: "DELETE", keepalive: true });
    } catch {
      // it does so by itself, later
    }
  }

  #onChange;
  #stop = new AbortController();
  #cancelled = false;
  #id = "";
  /** @type {Given[]} in the order that the server wants them in */
  #wanted = [];
  #piece = 2 ** 20; // bytes of the next

  /** @param {Given[]} given */
  async #begin(given) {
    this.#stop.signal.throwIfAborted();
    if (!given.length) throw new Error("There are no files in what was chosen.");
    const files = given.map(({ path, file }) => ({ name: path, size: file.size }));
    const { id, wanted } = await this.#ask("POST", ADDRESS, { files });
    this.#id = id;
    this.#wanted = wanted.map((number) => given[number]);
    const bytes = this.#wanted.reduce((sum, { file }) => sum + file.size, 0);
    this.#change({ state: "sending", files: wanted.length, bytes });
  }

  async #send() {
    for (const { blob, files } of this.#pieces()) {
      const began = performance.now();
      const body = await this.#read(blob);
      await this.#persist(() => this.#sendPiece(body));
      this.#adapt((performance.now() - began) / 1000);
      this.#change({ bytesDone: this.bytesDone + blob.size, filesDone: files });
    }
  }

  /** The bytes of all files, and how many files are whole after each. */
  *#pieces() {
    let parts = [];
    let room = this.#piece;
    for (const [place, { file }] of this.#wanted.entries()) {
      for (let from = 0; from < file.size; ) {
        const part = file.slice(from, from + room);
        parts.push(part);
        from += part.size;
        room -= part.size;
        if (room) continue;
        yield { blob: new Blob(parts), files: place + Number(from === file.size) };
        parts = [];
        room = this.#piece;
      }
    }
    if (parts.length) yield { blob: new Blob(parts), files: this.#wanted.length };
  }

  /** @param {number} seconds that a piece took */
  #adapt(seconds) {
    if (seconds < SECONDS / 2) this.#piece = Math.min(2 * this.#piece, LARGEST);
    else if (seconds > 2 * SECONDS) this.#piece = Math.max(this.#piece / 2, SMALLEST);
  }

  /** @param {Blob} blob */
  async #read(blob) {
    try {
      return await blob.arrayBuffer();
    } catch {
      const path = await changed(this.#wanted);
      throw new Error(`${path} cannot be read any more: it was changed or removed meanwhile. Choose the files again.`);
    }
  }

  #sendPiece(body) {
    const address = `${ADDRESS}/${this.#id}?from=${this.bytesDone}`;
    return this.#fetch(address, { method: "PUT", headers: { "Content-Type": "application/octet-stream" }, body });
  }

  /** Ask again where the connection failed, or what stands before the server did not wait for it. */
  async #persist(ask) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await ask();
      } catch (error) {
        const passes = !(error instanceof Refused) || NOT_THE_SERVER.includes(error.status);
        const tries = TIMED_OUT.includes(error.status) ? TRIES_FOR_TIME : TRIES;
        if (this.#stop.signal.aborted || !passes || attempt >= tries) throw error;
        await new Promise((resolve) => setTimeout(resolve, Math.min(WAIT * 2 ** (attempt - 1), LONGEST_WAIT)));
      }
    }
  }

  #ask(method, address, body) {
    return this.#fetch(address, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  }

  /** @returns {Promise<any>} what the server answered */
  async #fetch(address, options) {
    const answer = await this.#answer(address, options);
    if (answer.ok) return answer.json();
    const about = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, about.error ?? `The server answered ${answer.status} ${answer.statusText}.`);
  }

  async #answer(address, options) {
    try {
      return await api.fetchApi(address, { ...options, signal: this.#stop.signal });
    } catch (error) {
      if (this.#stop.signal.aborted) throw error;
      throw new Error("The server cannot be reached. Is ComfyUI still running?");
    }
  }

  /** @param {Partial<Upload>} values */
  #change(values) {
    Object.assign(this, values);
    this.#onChange();
  }
}

/** The first file that is not as it was when it was chosen. @param {Given[]} given */
async function changed(given) {
  for (const { path, file } of given) {
    try {
      await file.slice(0, 1).arrayBuffer();
    } catch {
      return path;
    }
  }
  return "A file";
}
