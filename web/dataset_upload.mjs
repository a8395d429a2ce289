/** The part of a Load Dataset node that brings a folder, an archive or pictures to the server as a new data set. */

import { app } from "../../scripts/app.js";
import { chosen, dropped, isTaken } from "./dropped.mjs";
import { addPart, after, forwardToCanvas, key, make } from "./node_parts.mjs";
import { Upload } from "./upload.mjs";

/** @typedef {import("./dropped.mjs").Given} Given */

const HEIGHT = 76; // pixels that the widget asks for
const NAMED = 3; // of the files that were left out

const TEXTS = {
  preparing: () => "Looking through the files …",
  sending: () => "Uploading …",
  finishing: () => "Making the data set …",
  done: ({ result }) => [uploaded(result), leftOut(result.left_out)].filter(Boolean).join(" "),
  failed: ({ message }) => message.charAt(0).toUpperCase() + message.slice(1),
  cancelled: () => "Cancelled. Nothing of it was kept.",
};

/** @type {Map<string, Upload>} by graph and node: they go on when another workflow is switched to */
const uploads = new Map();
/** @type {Map<string, UploadPart>} the part that shows the node's upload now */
const parts = new Map();

/** @param {object} node the LiteGraph node that gets the part */
export function addUpload(node) {
  new UploadPart(node);
}

/** The page goes: what was sent for nothing shall not stay on the server. */
export function discardUploads() {
  for (const upload of uploads.values()) if (upload.isRunning) upload.discard();
}

class UploadPart {
  /** @param {object} node */
  constructor(node) {
    this.node = node;
    this.element = make("div", "isengard-upload");
    this.status = make("div", "isengard-upload-status");
    this.status.setAttribute("role", "status"); // read out when it changes: so no numbers in it
    this.element.append(this.#buttons(), this.#running(), this.status);
    addPart(node, "upload", this.element, { getMinHeight: () => HEIGHT });
    this.status.addEventListener("wheel", (event) => isCut(this.status) && event.stopPropagation()); // it scrolls
    forwardToCanvas(this.element);
    this.#takeDrops();
    after(node, "onAdded", () => this.#takeUp());
    after(node, "onConfigure", () => this.#choose()); // its widgets have the values of the workflow by now
    this.show();
  }

  /** Draw the node's upload, or that there is none. */
  show() {
    const upload = uploads.get(key(this.node));
    const warned = Boolean(upload?.result?.left_out.length);
    Object.assign(this.element.dataset, { state: upload?.state ?? "idle", warning: warned });
    setText(this.status, upload ? TEXTS[upload.state](upload) : "Or drop a folder, a zip or pictures here.");
    this.element.title = upload && !upload.isRunning ? this.status.textContent : "";
    this.bar.max = upload?.bytes || 1;
    if (upload?.state === "sending") this.bar.value = upload.bytesDone;
    else this.bar.removeAttribute("value"); // it moves, and tells no number
    setText(this.count, upload?.state === "sending" ? count(upload) : "");
  }

  /** @param {Promise<Given[]>} given */
  async #start(given) {
    const place = key(this.node);
    if (uploads.get(place)?.isRunning) return;
    const upload = new Upload(() => parts.get(place)?.show());
    uploads.set(place, upload);
    parts.set(place, this);
    this.show();
    await upload.run(given);
    if (!upload.result) return;
    await app.refreshComboInNodes();
    parts.get(place)?.#choose();
  }

  /** The node was put into a graph: perhaps one whose upload began on the node that was there before. */
  #takeUp() {
    parts.set(key(this.node), this);
    this.show();
  }

  /** Set the new data set on the node, once; where the node is not open, when it is. */
  #choose() {
    const upload = uploads.get(key(this.node));
    const widget = this.node.widgets.find((widget) => widget.name === "folder");
    const name = upload?.result?.name;
    if (!name || upload.isChosen || !widget) return;
    upload.isChosen = true;
    widget.value = name;
    widget.callback?.(name);
    this.node.setDirtyCanvas(true, true);
  }

  #buttons() {
    const row = make("div", "isengard-upload-row isengard-upload-buttons");
    row.append(
      ...this.#button("Upload folder…", "A folder with pictures and captions, those in folders below it too", {
        webkitdirectory: true,
        multiple: true,
      }),
      ...this.#button("Upload zip…", "A zip file with pictures and captions", { accept: ".zip,application/zip" }),
    );
    return row;
  }

  #running() {
    const row = make("div", "isengard-upload-row isengard-upload-running");
    this.bar = make("progress", "isengard-upload-bar");
    this.bar.setAttribute("aria-label", "Upload of the data set");
    this.count = make("span", "isengard-upload-count");
    const cancel = make("button", "isengard-upload-button", "Cancel");
    cancel.type = "button";
    cancel.addEventListener("click", () => uploads.get(key(this.node))?.cancel());
    row.append(this.bar, this.count, cancel);
    return row;
  }

  /** A button and the file input that it opens. */
  #button(text, title, properties) {
    const input = Object.assign(make("input", "isengard-upload-input"), { type: "file", ...properties });
    const button = Object.assign(make("button", "isengard-upload-button", text), { type: "button", title });
    input.tabIndex = -1;
    input.setAttribute("aria-hidden", "true");
    button.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      this.#start(Promise.resolve(chosen(input.files)));
      input.value = ""; // so that the same can be chosen again
    });
    return [button, input];
  }

  /** On the node, whose callbacks the editor calls; and on this part, which covers the canvas there. */
  #takeDrops() {
    this.node.onDragOver = (event) => isTaken(event.dataTransfer);
    this.node.onDragDrop = (event) => {
      if (!isTaken(event.dataTransfer)) return false;
      this.#start(dropped(event.dataTransfer));
      return true;
    };
    const over = (event) => {
      this.element.dataset.over = "false";
      if (window.LiteGraph?.vueNodesMode || !isTaken(event.dataTransfer)) return; // there the node sees it
      event.preventDefault();
      event.stopPropagation();
      this.element.dataset.over = String(event.type === "dragover");
      if (event.type === "drop") this.node.onDragDrop(event);
    };
    for (const type of ["dragover", "drop"]) this.element.addEventListener(type, over);
    this.element.addEventListener("dragleave", () => (this.element.dataset.over = "false"));
  }
}

/** Only where it is another: what is set is read out. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Whether it has more lines than there is room for. */
function isCut(element) {
  return element.scrollHeight > element.clientHeight;
}

/** @param {Upload} upload */
function count({ files, filesDone, bytes, bytesDone }) {
  if (files > 1) return `${filesDone} of ${files} files`;
  return `${megabytes(bytesDone)} of ${megabytes(bytes)} MB`;
}

function megabytes(bytes) {
  return (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
}

function uploaded({ name, pictures }) {
  return `Uploaded ${name}: ${pictures} ${pictures === 1 ? "picture" : "pictures"}.`;
}

/** @param {string[]} names */
function leftOut(names) {
  if (!names.length) return "";
  const some = names.slice(0, NAMED).map((name) => name.split("/").at(-1));
  const files = names.length === 1 ? "file" : "files";
  return `${names.length} ${files} left out: ${some.join(", ")}${names.length > NAMED ? ", …" : "."}`;
}
