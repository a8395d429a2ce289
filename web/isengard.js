/**
 * Isengard in the graph editor: the loss of a training run, live on its Train node, and what other nodes show.
 *
 * The one file that ComfyUI loads by itself; the parts are in the .mjs files beside it.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { addUpload, discardUploads } from "./dataset_upload.mjs";
import { LiveLoss } from "./live_loss.mjs";
import { Runs } from "./runs.mjs";
import { addLayout } from "./scene_layout.mjs";
import { addLine, addReport } from "./shown_text.mjs";

const TEXT_HEIGHTS = { prompts: 160, negative: 70, tags: 70 }; // pixels; the rest of the node's height is the picture's

/** What our nodes get beside their inputs. @type {Record<string, (node: object) => void>} */
const ADDITIONS = {
  IsengardTrainLora: (node) => views.set(node, new LiveLoss(node)),
  IsengardSaveLora: addLine("The name of the file appears here."),
  IsengardLoadDataset: addUpload,
  IsengardSaveDataset: addLine("The name of the folder appears here."),
  IsengardEditCaptions: addReport("What the rules change appears here."),
  IsengardCheckCaptions: addReport("What is found appears here."),
  IsengardSaveCharacter: addLine("The character appears here."),
  IsengardAddCharacterLora: addLine("The version appears here."),
  IsengardChooseCharacterVersion: addLine("The character appears here."),
  IsengardExportCharacter: addLine("The name of the file appears here."),
  IsengardImportCharacter: addLine("The character appears here."),
  IsengardContactSheet: limitTexts,
  IsengardIdentity: addReport("How well the character is told apart appears here."),
  IsengardScoreImages: addReport("The scores appear here."),
  IsengardPickBest: addReport("The scores appear here."),
  IsengardCharacterPrompt: addReport("The prompt appears here."),
  IsengardCharacterReferences: addReport("The pictures that are used appear here."),
  IsengardCharacterSampler: both(limitTexts, addReport("What was drawn appears here.")),
  IsengardScene: both(addLayout, addReport("What to know of the scene appears here.")),
};

const runs = new Runs();
/** @type {WeakMap<object, LiveLoss>} */
const views = new WeakMap();

app.registerExtension({
  name: "isengard",

  setup() {
    loadStyle();
    window.addEventListener("pagehide", discardUploads);
    api.addEventListener("isengard.train", ({ detail }) => show(runs.record(detail)));
    api.addEventListener("execution_success", () => runs.end("finished").forEach(show));
    api.addEventListener("execution_interrupted", () => runs.end("interrupted").forEach(show));
    api.addEventListener("execution_error", ({ detail }) => runs.end("failed", detail.exception_message).forEach(show));
    // an empty queue comes after every end; it also tells when the server was started anew under us
    api.addEventListener("status", ({ detail }) => {
      if (detail?.exec_info?.queue_remaining === 0) runs.end("stopped").forEach(show);
    });
  },

  nodeCreated(node) {
    ADDITIONS[node.comfyClass]?.(node);
  },

  /** A workflow was opened, switched to or undone: its nodes are new, the runs are not. */
  afterConfigureGraph() {
    runs.ofWorkflow(rootGraph().id).forEach(show);
  },
});

/** Draw a run on its node, where that node is in the graph that is open. */
function show(run) {
  if (run && run.workflow === rootGraph().id) views.get(nodeAt(run.node))?.show(run);
}

/**
 * The node that ran under `id`: "5", or "12:5" for node 5 of the subgraph that node 12 holds. Undefined where there
 * is none (deleted, or made while running).
 */
function nodeAt(id) {
  let node;
  let graph = rootGraph();
  for (const part of id.split(":")) {
    node = graph?.getNodeById(part) ?? undefined;
    graph = node?.subgraph;
  }
  return node;
}

/** Two additions to a node. */
function both(one, other) {
  return (node) => {
    one(node);
    other(node);
  };
}

/** The editor shares the free height of a node evenly; here the text boxes would take two thirds of it. */
function limitTexts(node) {
  for (const [name, height] of Object.entries(TEXT_HEIGHTS)) {
    const widget = node.widgets?.find((widget) => widget.name === name);
    if (widget) widget.options.getMaxHeight = () => height;
  }
}

function rootGraph() {
  return app.rootGraph ?? app.graph;
}

function loadStyle() {
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = new URL("./isengard.css", import.meta.url).href;
  document.head.append(link);
}
