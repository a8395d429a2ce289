"""Whether a workflow fits a server: checked against its /object_info, for the API's format and the graph editor's."""

from __future__ import annotations

from collections import Counter
from typing import Any

from isengard.workflows.settings import VALUE_TYPES, declared_inputs

Info = dict[str, Any]  # /object_info
Workflow = dict[str, Any]

NOTES = {"Note", "MarkdownNote"}  # drawn by the editor; the server does not know them
CONTROLS = {"fixed", "increment", "decrement", "randomize"}


def problems(workflow: Workflow, info: Info) -> list[str]:
    """Everything that does not fit, one line each; the format is told by its shape."""
    return _editor_problems(workflow, info) if "nodes" in workflow else _api_problems(workflow, info)


def values_by_name(node: Workflow, node_info: Info) -> dict[str, Any]:
    """What a node of the editor's format sends to the server: its widgets but those that the editor adds."""
    widgets = zip(_widgets(node_info), node.get("widgets_values") or [], strict=True)
    return {name: value for (name, kind, _), value in widgets if kind in VALUE_TYPES}


def value_problem(value: Any, kind: str, options: dict[str, Any]) -> str | None:
    """What is wrong with a value that a person enters, or None."""
    types = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool}
    if kind == "COMBO":
        known = options.get("options")
        return None if known is None or value in known else f"{value!r} is none of {known}"
    if not isinstance(value, types[kind]) or (isinstance(value, bool) and kind != "BOOLEAN"):
        return f"{value!r} is no {kind}"
    if kind in ("INT", "FLOAT") and not options.get("min", value) <= value <= options.get("max", value):
        return f"{value} is not within {options.get('min')} to {options.get('max')}"
    return None


def types_fit(given: Any, wanted: Any) -> bool:
    """Whether an output of type `given` may go into an input of type `wanted`, as ComfyUI has it."""
    if isinstance(given, list) or isinstance(wanted, list) or given == "COMBO" or wanted == "COMBO":
        return given == wanted
    given, wanted = ({part.strip() for part in kind.split(",")} for kind in (given, wanted))
    return bool(given & wanted) or "*" in given | wanted


def _api_problems(prompt: Workflow, info: Info) -> list[str]:
    titles = Counter(node.get("_meta", {}).get("title") for node in prompt.values())
    found = [f"{count} nodes are named {title!r}" for title, count in titles.items() if count > 1]
    if not any(info.get(node["class_type"], {}).get("output_node") for node in prompt.values()):
        found.append("no node puts anything out")
    for number, node in prompt.items():
        label = f"{number} ({node['class_type']})"
        if node["class_type"] not in info:
            found.append(f"{label}: no such node on the server")
            continue
        declared = declared_inputs(info[node["class_type"]])
        required = info[node["class_type"]]["input"].get("required") or {}
        found += [f"{label}: {name} is missing" for name in required if name not in node["inputs"]]
        for name, value in node["inputs"].items():
            problem = _api_input_problem(prompt, info, declared, name, value)
            found += [f"{label}: {name}: {problem}"] if problem else []
    return found


def _api_input_problem(prompt: Workflow, info: Info, declared: dict, name: str, value: Any) -> str | None:
    if name not in declared:
        return "no such input"
    kind, options = declared[name]
    if not isinstance(value, list):
        return value_problem(value, kind, options) if kind in VALUE_TYPES else f"a {kind} wants a link, got {value!r}"
    source, slot = value
    if source not in prompt:
        return f"linked to node {source}, which is not there"
    outputs = info.get(prompt[source]["class_type"], {}).get("output", [])
    if not 0 <= slot < len(outputs):
        return f"linked to output {slot} of node {source}, which has {len(outputs)}"
    return None if types_fit(outputs[slot], kind) else f"linked to a {outputs[slot]}, wants a {kind}"


def _editor_problems(workflow: Workflow, info: Info) -> list[str]:
    nodes = {node["id"]: node for node in workflow["nodes"] if node["type"] not in NOTES}
    links = {link[0]: link for link in workflow["links"]}
    found = [
        f"{node['id']} ({node['type']}): no such node on the server"
        for node in nodes.values()
        if node["type"] not in info
    ]
    nodes = {number: node for number, node in nodes.items() if node["type"] in info}
    for number, node in nodes.items():
        label = f"{number} ({node['type']})"
        inputs = _missing_links(node, info[node["type"]], links)
        widgets = _widget_problems(node.get("widgets_values") or [], info[node["type"]])
        outputs = _output_problems(node, info[node["type"]], links)
        found += [f"{label}: {problem}" for problem in (*inputs, *widgets, *outputs)]
    for link in links.values():
        problem = _link_problem(link, nodes, info)
        found += [f"link {link[0]}: {problem}"] if problem else []
    return found


def _widgets(node_info: Info) -> list[tuple[str, str, dict]]:
    """Name, type and options of each widget, in the editor's order; beside some the editor puts one of its own."""
    widgets = []
    for name, (kind, options) in declared_inputs(node_info).items():
        if kind not in VALUE_TYPES or options.get("forceInput"):
            continue
        widgets.append((name, kind, options))
        if options.get("control_after_generate", kind == "INT" and name in ("seed", "noise_seed")):
            widgets.append((f"{name}'s control", "CONTROL", {}))
        if any(options.get(f"{medium}_upload") for medium in ("image", "video", "audio")):
            widgets.append((f"{name}'s upload", "UPLOAD", {}))
    return widgets


def _widget_problems(values: list[Any], node_info: Info) -> list[str]:
    widgets = _widgets(node_info)
    if len(values) != len(widgets):
        return [f"{len(values)} widget values for {len(widgets)} widgets ({', '.join(name for name, _, _ in widgets)})"]
    found = []
    for value, (name, kind, options) in zip(values, widgets, strict=True):
        if kind == "CONTROL":
            problem = None if value in CONTROLS else f"{value!r} is none of {sorted(CONTROLS)}"
        else:
            problem = None if kind == "UPLOAD" else value_problem(value, kind, options)
        found += [f"{name}: {problem}"] if problem else []
    return found


def _missing_links(node: dict, node_info: Info, links: dict) -> list[str]:
    """Inputs that name a link that is not theirs, that the server does not have, or that want one and have none."""
    declared = declared_inputs(node_info)
    required = node_info["input"].get("required") or {}
    found, linked = [], set()
    for slot, socket in enumerate(node.get("inputs") or []):
        if socket["name"] not in declared:
            found.append(f"{socket['name']}: no such input")
        if socket.get("link") is None:
            continue
        linked.add(socket["name"])
        if links.get(socket["link"], [None] * 6)[3:5] != [node["id"], slot]:
            found.append(f"{socket['name']}: link {socket['link']} does not lead here")
    for name, (kind, options) in declared.items():
        wants = name in required and (kind not in VALUE_TYPES or options.get("forceInput"))
        found += [f"{name} is not linked"] if wants and name not in linked else []
    return found


def _output_problems(node: dict, node_info: Info, links: dict) -> list[str]:
    given, has = [socket["type"] for socket in node.get("outputs") or []], node_info["output"]
    found = [] if given == has else [f"its outputs are {given}, on the server {has}"]
    for slot, socket in enumerate(node.get("outputs") or []):
        wrong = [link for link in socket.get("links") or [] if links.get(link, [None] * 6)[1:3] != [node["id"], slot]]
        found += [f"{socket['name']}: link {link} does not start here" for link in wrong]
    return found


def _link_problem(link: list, nodes: dict, info: Info) -> str | None:
    number, source, source_slot, target, target_slot, kind = link
    if source not in nodes or target not in nodes:
        return f"joins {source} and {target}, which are not both there"
    outputs, inputs = nodes[source].get("outputs") or [], nodes[target].get("inputs") or []
    if source_slot >= len(info[nodes[source]["type"]]["output"]) or source_slot >= len(outputs):
        return f"node {source} has no output {source_slot}"
    if target_slot >= len(inputs):
        return f"node {target} has no input {target_slot}"
    if inputs[target_slot].get("link") != number or number not in (outputs[source_slot].get("links") or []):
        return f"nodes {source} and {target} do not know of it"
    given = info[nodes[source]["type"]]["output"][source_slot]
    wanted = declared_inputs(info[nodes[target]["type"]]).get(inputs[target_slot]["name"], (kind,))[0]
    fits = kind == given and types_fit(given, wanted)
    return None if fits else f"a {kind}, from a {given} to a {wanted}"
