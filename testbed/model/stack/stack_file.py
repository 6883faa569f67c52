"""A stack.yaml in OpenFaaS' form, read into an Application, with every mistake named by file and line.

`parse` is pure: what it must know of the disk comes in as a `Surroundings`; `load` is the thin
part that looks. What a function runs with (secrets, limits, …) is read by `run_keys`. Keys that only
concern building in a real cluster (build_args, platforms, …) are accepted and not used. Nothing is built
or deployed here.
"""

from __future__ import annotations

import difflib
import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from testbed.model import datastores
from testbed.model.annotations import (
    CALLS_ANNOTATION,
    FUNCTION_ANNOTATIONS,
    INGRESS_ANNOTATION,
    NODE_ANNOTATION,
    OWN_PREFIX,
    STORES_ANNOTATION,
)
from testbed.model.application import Application, FunctionSpec, find_cycle, is_name, parse_calls
from testbed.model.checkout import TEMPLATES
from testbed.model.errors import StackError, UsageError
from testbed.model.scaling.annotations import ScalingError, read_settings
from testbed.model.scaling.settings import PRESETS
from testbed.model.stack import callees, run_keys
from testbed.model.stack.surroundings import Disk, Surroundings
from testbed.model.stack.yaml_nodes import Scalar, YamlReader

STACK_FILE = "stack.yaml"

_TOP_KEYS = ("version", "provider", "functions", "configuration")
_FUNCTION_KEYS = (
    *("lang", "handler", "image", "fprocess", "environment", "environment_file", "labels", "annotations"),
    *("secrets", "constraints", "limits", "requests", "namespace", "readonly_root_filesystem", "skip_build"),
    *("build_args", "build_options", "build_secrets", "platforms"),
)


@dataclass(frozen=True)
class _Read:
    """A function as it was read, with the places to point at when it does not fit the others."""

    spec: FunctionSpec
    name_node: yaml.Node
    calls_node: yaml.Node
    environment: Mapping[str, Scalar] = field(default_factory=dict)


def load(path: Path, variables: Mapping[str, str] | None = None, templates: Path = TEMPLATES) -> Application:
    """The application of the stack.yaml at `path`, or in the folder `path`; raises StackError.

    Its name is that of the file's folder; handlers are absolute paths. `variables` (default: this
    process's environment) fill `${VAR}`.
    """
    path = path / STACK_FILE if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise StackError(f"{path} cannot be read ({reason}); name a stack.yaml") from None
    folder = path.resolve().parent
    values = os.environ if variables is None else variables
    application = parse(text, values, Disk(folder, templates), file=str(path), name=folder.name)
    absolute = [replace(spec, handler=str(folder / spec.handler)) for spec in application.functions]
    copied = {place: str(folder / path) for place, path in application.copied.items()}
    return replace(application, functions=tuple(absolute), copied=copied, folder=str(folder))


def parse(
    text: str, variables: Mapping[str, str], surroundings: Surroundings, *, file: str = "stack.yaml", name: str = ""
) -> Application:
    """The application that `text` describes; raises StackError for the first mistake, by `file` and line."""
    reader = YamlReader(file)
    root = reader.compose(reader.substitute(text, variables))
    if root is None:
        reader.fail(None, "the file is empty; begin with version: 1.0, a provider and functions")
    top = reader.mapping(root, "the file")
    _check_keys(reader, top, _TOP_KEYS, "the file")
    _check_head(reader, root, top)
    if "functions" not in top:
        reader.fail(root, 'there are no functions; add "functions:" with at least one function under it')
    key, node = top["functions"]
    if isinstance(node, yaml.ScalarNode) or not node.value:
        reader.fail(key, "there are no functions; add at least one under this line")
    functions = [
        _function(reader, surroundings, function, *nodes)
        for function, nodes in reader.mapping(node, "functions").items()
    ]
    _check_graph(reader, functions)
    if not any(one.spec.ingress for one in functions):
        reader.fail(
            key, f'no function may be invoked from outside; give one the annotation {INGRESS_ANNOTATION}: "true"'
        )
    copied = run_keys.copied(reader, top["configuration"][1], surroundings) if "configuration" in top else ()
    application = Application(name, tuple(one.spec for one in functions), {path: path for path in copied})
    scripts = {store: surroundings.read(datastores.script_name(store)) for store in application.stores()}
    return replace(application, scripts={store: text for store, text in scripts.items() if text})


def select(application: Application, pattern: str) -> tuple[Application, tuple[str, ...]]:
    """The functions whose names match the regular expression, and the names of those left out.

    As faas-cli's --regex, a match anywhere counts. Calls to functions left out are dropped, and so
    are the callee URLs that name them. Raises UsageError when no ingress function remains.
    """
    try:
        matches = re.compile(pattern).search
    except re.error as error:
        raise UsageError(f'"{pattern}" is not a regular expression ({error}); write e.g. chain-[1-4]$') from None
    kept = [spec for spec in application.functions if matches(spec.name)]
    names = frozenset(spec.name for spec in kept)
    left_out = tuple(spec.name for spec in application.functions if spec.name not in names)
    if not kept:
        raise UsageError(f'no function of {application.name} matches "{pattern}"; there are {", ".join(left_out)}')
    if not any(spec.ingress for spec in kept):
        raise UsageError(
            f'no function of {application.name} that matches "{pattern}" may be invoked from outside; let the pattern '
            f"match {' or '.join(spec.name for spec in application.functions if spec.ingress)} too"
        )
    return replace(application, functions=tuple(_without_others(spec, names) for spec in kept)), left_out


def _check_head(reader: YamlReader, root: yaml.Node, top: Mapping[str, tuple[yaml.Node, yaml.Node]]) -> None:
    version = reader.scalar(top["version"][1], "version") if "version" in top else Scalar("1.0", root)
    if version.text != "1.0":
        reader.fail(version.node, f'version "{version.text}" is not known; write version: 1.0')
    if "provider" not in top:
        reader.fail(root, 'there is no provider; add "provider:" with "name: openfaas" under it')
    provider = reader.texts(top["provider"][1], "provider")
    if "name" not in provider:
        reader.fail(top["provider"][0], "the provider has no name; write name: openfaas under it")
    if provider["name"].text != "openfaas":
        reader.fail(provider["name"].node, f'provider "{provider["name"].text}" is not known; write name: openfaas')


def _check_keys(
    reader: YamlReader, found: Mapping[str, tuple[yaml.Node, yaml.Node]], known: Sequence[str], what: str
) -> None:
    for key, (node, _) in found.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            remedy = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known)}"
            reader.fail(node, f'"{key}" in {what} is not known; {remedy}')


def _function(
    reader: YamlReader, surroundings: Surroundings, name: str, name_node: yaml.Node, node: yaml.Node
) -> _Read:
    if not is_name(name):
        reader.fail(
            name_node,
            f'"{name}" cannot name a function; use at most 63 lower-case letters, digits and "-", a letter or digit at '
            "both ends",
        )
    if name in datastores.KINDS:
        reader.fail(name_node, f"{name} is the name of a store; give the function another")
    keys = reader.mapping(node, f"function {name}")
    _check_keys(reader, keys, _FUNCTION_KEYS, f"function {name}")
    needed = {"lang": "python3-http", "handler": f"./{name}", "image": f"{name}:latest"}
    for key, example in needed.items():
        if key not in keys:
            reader.fail(name_node, f"function {name} has no {key}; add e.g. {key}: {example}")
    texts = {key: reader.scalar(keys[key][1], f"{key} of function {name}") for key in needed}
    handler = _handler(reader, surroundings, name, texts["lang"], texts["handler"])
    environment = _environment(reader, surroundings, name, keys)
    labels = reader.texts(keys["labels"][1], f"labels of function {name}") if "labels" in keys else {}
    annotations = (
        reader.texts(keys["annotations"][1], f"annotations of function {name}") if "annotations" in keys else {}
    )
    _check_annotations(reader, name, annotations)
    _check_scaling(reader, name, name_node, labels, annotations)
    runs_with = run_keys.read(reader, name, keys)
    spec = FunctionSpec(
        name,
        texts["lang"].text,
        handler,
        texts["image"].text,
        environment={key: value.text for key, value in environment.items()},
        labels={key: value.text for key, value in labels.items()},
        annotations={key: value.text for key, value in annotations.items()},
        ingress=INGRESS_ANNOTATION in annotations and annotations[INGRESS_ANNOTATION].text == "true",
        calls=parse_calls({key: value.text for key, value in annotations.items()}),
        fprocess=reader.scalar(keys["fprocess"][1], f"fprocess of function {name}").text if "fprocess" in keys else "",
        secrets=runs_with.secrets,
        limits=runs_with.limits,
        requests=runs_with.requests,
        constraints=runs_with.constraints,
        read_only_root_filesystem=runs_with.read_only_root_filesystem,
        stores=datastores.parse_stores({key: value.text for key, value in annotations.items()}),
    )
    calls_node = annotations[CALLS_ANNOTATION].node if CALLS_ANNOTATION in annotations else name_node
    return _Read(spec, name_node, calls_node, environment)


def _handler(reader: YamlReader, surroundings: Surroundings, name: str, language: Scalar, handler: Scalar) -> str:
    """The handler's folder, once language, folder and handler file are known to exist."""
    languages = surroundings.languages()
    if language.text not in languages:
        reader.fail(
            language.node,
            f"function {name}: there is no template for lang {language.text}; "
            + (f"there are {', '.join(languages)}" if languages else "add its folder to functions/templates"),
        )
    path = posixpath.normpath(handler.text)
    if not surroundings.is_folder(path):
        reader.fail(
            handler.node, f"function {name}: the handler folder {handler.text} is missing; make it or mend the path"
        )
    files = surroundings.files(path)
    wanted = languages[language.text]
    missing = [file for file in wanted if file not in files]
    if missing or not (wanted or any(file.lower().startswith("handler.") for file in files)):
        reader.fail(
            handler.node,
            f"function {name}: the handler folder {handler.text} has no file {missing[0] if missing else 'handler.*'}; "
            "add it",
        )
    return path


def _environment(
    reader: YamlReader, surroundings: Surroundings, name: str, keys: Mapping[str, tuple[yaml.Node, yaml.Node]]
) -> dict[str, Scalar]:
    """The function's environment; as with faas-cli, values of an environment_file win."""
    what = f"environment of function {name}"
    environment = reader.texts(keys["environment"][1], what) if "environment" in keys else {}
    files = (
        reader.items(keys["environment_file"][1], f"environment_file of function {name}")
        if ("environment_file" in keys)
        else []
    )
    for file in files:
        text = surroundings.read(posixpath.normpath(file.text))
        if text is None:
            reader.fail(
                file.node, f"function {name}: the environment_file {file.text} is missing; make it or mend the path"
            )
        inner = YamlReader(posixpath.join(posixpath.dirname(reader.file), posixpath.normpath(file.text)))
        root = inner.compose(text)
        top = inner.mapping(root, "the file") if root else {}
        if "environment" not in top:
            inner.fail(root, 'there is no environment; write "environment:" and the values under it')
        values = inner.texts(top["environment"][1], "environment")
        # A complaint about a value points at the line that names the file: it is the one in stack.yaml.
        environment |= {key: Scalar(value.text, file.node) for key, value in values.items()}
    return environment


def _check_annotations(reader: YamlReader, name: str, annotations: Mapping[str, Scalar]) -> None:
    for key, value in annotations.items():
        if key.startswith(OWN_PREFIX) and key not in FUNCTION_ANNOTATIONS:
            near = (difflib.get_close_matches(key, FUNCTION_ANNOTATIONS, 1) or [INGRESS_ANNOTATION])[0]
            reader.fail(value.node, f'function {name}: annotation "{key}" is not known; did you mean "{near}"?')
    ingress = annotations.get(INGRESS_ANNOTATION)
    if ingress and ingress.text not in ("true", "false"):
        reader.fail(
            ingress.node, f'function {name}: {INGRESS_ANNOTATION} is "{ingress.text}"; it must be "true" or "false"'
        )
    owned = annotations.get(STORES_ANNOTATION)
    if owned:
        try:
            datastores.check(name, datastores.parse_stores({STORES_ANNOTATION: owned.text}))
        except UsageError as error:
            reader.fail(owned.node, str(error))
    node = annotations.get(NODE_ANNOTATION)
    if node and not re.fullmatch(r"\s*node\d+\s*(,\s*node\d+\s*)*", node.text):
        reader.fail(node.node, f'function {name}: {NODE_ANNOTATION} is "{node.text}"; write e.g. node2 or node2,node3')


def _check_scaling(
    reader: YamlReader, name: str, name_node: yaml.Node, labels: Mapping[str, Scalar], annotations: Mapping[str, Scalar]
) -> None:
    """Settings of the scaler; what they mean does not depend on its preset."""

    def texts(values: Mapping[str, Scalar]) -> dict[str, str]:
        return {key: value.text for key, value in values.items()}

    try:
        read_settings(name, texts(labels), texts(annotations), PRESETS["keda"])
    except ScalingError as error:
        said = {**labels, **annotations}.get(error.key)
        reader.fail(said.node if said else name_node, str(error))


def _check_graph(reader: YamlReader, functions: Sequence[_Read]) -> None:
    names = [one.spec.name for one in functions]
    for one in functions:
        spec = one.spec
        for callee in spec.calls:
            if callee == spec.name:
                reader.fail(one.calls_node, f"function {spec.name} calls itself; take it out of its {CALLS_ANNOTATION}")
            if callee not in names:
                near = difflib.get_close_matches(callee, names, 1)
                remedy = f"did you mean {near[0]}?" if near else f"add it or take it out of {CALLS_ANNOTATION}"
                reader.fail(
                    one.calls_node,
                    f"function {spec.name} calls {callee}, which is not a function of this file; {remedy}",
                )
            if spec.calls.count(callee) > 1:
                reader.fail(
                    one.calls_node, f"function {spec.name} names {callee} twice in its calls; take one of them out"
                )
        _check_callee_urls(reader, one)
    cycle = find_cycle({one.spec.name: one.spec.calls for one in functions})
    if cycle:
        node = next(one.calls_node for one in functions if one.spec.name == cycle[0])
        reader.fail(node, f"the calls {' -> '.join(cycle)} form a cycle; take one of them out")


def _check_callee_urls(reader: YamlReader, one: _Read) -> None:
    for variable, value in one.environment.items():
        for url in callees.parse(value.text):
            if url.function not in one.spec.calls:
                reader.fail(
                    value.node,
                    f"function {one.spec.name}: environment value {variable} names function {url.function}, which is "
                    f"not among its {CALLS_ANNOTATION}; add it there or take the value out",
                )


def _without_others(spec: FunctionSpec, names: frozenset[str]) -> FunctionSpec:
    def kept(url: callees.CalleeUrl) -> str | None:
        return url.text() if url.function in names else None

    environment = {key: callees.replace(value, kept) for key, value in spec.environment.items()}
    calls = tuple(callee for callee in spec.calls if callee in names)
    annotations = dict(spec.annotations)
    if CALLS_ANNOTATION in annotations:
        annotations[CALLS_ANNOTATION] = ", ".join(calls)
    return replace(
        spec,
        calls=calls,
        annotations=annotations,
        environment={key: value for key, value in environment.items() if value is not None},
    )
