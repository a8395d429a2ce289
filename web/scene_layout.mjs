/** The part of a Scene node in which its boxes are dragged. */

import { format, moved, overlapping, parse, resized } from "./boxes.mjs";
import { addPart, after, forwardToCanvas, make, recordChange } from "./node_parts.mjs";

const HEIGHT = 180; // pixels that the widget asks for
const READ = ["boxes", "width", "height", "overlap"]; // widgets that it shows
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }; // percent

/** @param {object} node the LiteGraph node that gets the part */
export function addLayout(node) {
  new LayoutPart(node);
}

class LayoutPart {
  /** @param {object} node */
  constructor(node) {
    this.node = node;
    this.element = make("div", "isengard-layout");
    this.picture = make("div", "isengard-layout-picture");
    this.element.append(this.picture);
    addPart(node, "layout_boxes", this.element, { getMinHeight: () => HEIGHT });
    forwardToCanvas(this.element);
    for (const name of READ) after(this.#widget(name), "callback", () => this.show());
    for (const callback of ["onAdded", "onConfigure", "onConnectionsChange"]) after(node, callback, () => this.show());
    this.show();
  }

  /** Draw the boxes as the widgets have them. */
  show() {
    const names = this.#names();
    const boxes = parse(this.#widget("boxes").value ?? "", names.length);
    this.picture.style.setProperty("--ratio", this.#widget("width").value / this.#widget("height").value);
    this.element.dataset.readable = String(boxes !== null);
    if (boxes === null) {
      this.picture.replaceChildren(make("div", "isengard-layout-hint", "A line is no box: left top width height."));
      return;
    }
    const refused = this.#widget("overlap").value === "refuse" ? overlapping(boxes) : [];
    while (this.picture.childElementCount > boxes.length) this.picture.lastChild.remove();
    if (this.picture.querySelector(".isengard-layout-hint")) this.picture.replaceChildren();
    boxes.forEach((box, place) => {
      const element = this.picture.children[place] ?? this.#add(place);
      for (const [side, value] of Object.entries(box)) element.style[side] = `${value}%`;
      element.dataset.refused = String(Boolean(refused[place]));
      element.firstChild.textContent = names[place] ?? `character_${place + 1}`;
      element.setAttribute("aria-label", `${element.firstChild.textContent}: drag, or move it with the arrow keys`);
    });
  }

  #add(place) {
    const element = make("div", "isengard-layout-box");
    const handle = make("div", "isengard-layout-handle");
    element.append(make("div", "isengard-layout-name"), handle);
    element.dataset.place = String(place);
    element.tabIndex = 0;
    element.addEventListener("pointerdown", (event) => this.#drag(event, place, event.target === handle));
    element.addEventListener("keydown", (event) => this.#step(event, place));
    this.picture.append(element);
    return element;
  }

  /** Follow the pointer until it is let go: the box, or its lower right corner. */
  #drag(event, place, byCorner) {
    if (event.button !== 0) return;
    event.preventDefault();
    event.stopPropagation();
    const element = event.currentTarget;
    const { width, height } = this.picture.getBoundingClientRect();
    const before = this.#boxes();
    const change = byCorner ? resized : moved;
    const move = ({ clientX, clientY }) => {
      const right = (100 * (clientX - event.clientX)) / width;
      const down = (100 * (clientY - event.clientY)) / height;
      this.#write(before.with(place, change(before[place], right, down)));
    };
    element.focus();
    element.setPointerCapture(event.pointerId);
    element.addEventListener("pointermove", move);
    const end = () => {
      element.removeEventListener("pointermove", move);
      recordChange();
    };
    element.addEventListener("lostpointercapture", end, { once: true });
  }

  /** Arrow keys move a box, with Shift its lower right corner. */
  #step(event, place) {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const boxes = this.#boxes();
    this.#write(boxes.with(place, (event.shiftKey ? resized : moved)(boxes[place], ...step)));
    recordChange();
  }

  #boxes() {
    return parse(this.#widget("boxes").value ?? "", this.#names().length);
  }

  #write(boxes) {
    const widget = this.#widget("boxes");
    widget.value = format(boxes);
    widget.callback?.(widget.value);
    this.node.setDirtyCanvas?.(true, true);
  }

  #widget(name) {
    return this.node.widgets.find((widget) => widget.name === name);
  }

  /** Of the characters that are connected: two at least. */
  #names() {
    const inputs = this.node.inputs.filter(({ name }) => name.startsWith("character_"));
    return inputs.filter(({ link }, place) => link != null || place < 2).map((input) => this.#name(input));
  }

  /** What a connected Scene Character is set to, or the input's own name. */
  #name({ name, link }) {
    const source = this.node.graph?.getNodeById(this.node.graph.links?.get?.(link)?.origin_id);
    const chosen = source?.widgets?.find((widget) => widget.name === "name")?.value;
    return chosen && !String(chosen).startsWith("[") ? chosen : name;
  }
}
