"""A commit of this clone → the same code and images in another folder.

The workspace stays as it is. DVC's cache of the workspace is read. Only if files must be fetched
from the DVC remote, they are added to this cache, as `dvc fetch` does.
"""

import json
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from components.errors import UserError, one_line
from components.sources.dvc_cache import cache_folder
from components.tracking.connection import without_password
from pipelines.workspace import dvc_files
from pipelines.workspace.git import git
from pipelines.workspace.lock_stages import overlap, reads
from pipelines.workspace.model_source import Source
from pipelines.workspace.processes import DVC, CommandFailedError, capture, dvc_error, run
from pipelines.workspace.rebuild import Rebuild, end_of
from pipelines.workspace.revisions import LOCK

log = logging.getLogger(__name__)

SETTINGS = Path(".dvc/config.local")
SEARCH = "search"


def check_out(rebuild: Rebuild, source: Source, stages: Sequence[str], dirty: bool) -> str:
    """Put the code that made a model into the folder. Return the hash of its commit.

    stages: the stages that will run. The code, params and images of these stages must be those that
    `source.lock` has on record. The first commit of `source` for which this is true is checked out.
    If there is none and `dirty` is True, the first commit is checked out.
    Raises UserError if there is none and `dirty` is False, or if git or DVC fails.
    """
    if "commit" in rebuild.done:
        return str(rebuild.done["commit"])
    differing = {}
    for commit in source.commits:
        _check_out(rebuild, commit, source.lock)
        differing[commit] = list(dict.fromkeys(_other_inputs(rebuild, source.lock, stages)))
        if not differing[commit]:
            break
    else:
        commit, names = next(iter(differing.items()))
        if not dirty:
            raise UserError(
                "no commit has the code, params and images that made this model; if they are still "
                "in the workspace, commit them, otherwise add --dirty to see which stages differ. "
                f"Received: commit {commit} with another {', another '.join(names)}"
            )
        _check_out(rebuild, commit, source.lock)
    rebuild.note("commit", commit)
    return commit


def fetch_data(rebuild: Rebuild, source: Source, stages: Sequence[str]) -> str:
    """Put the images, and the results of stages that do not run, into the folder.

    stages: the stages that will run. Returns in words where the files are from.
    Raises UserError if they are neither in DVC's cache nor on the DVC remote.
    """
    if "data" in rebuild.done:
        return str(rebuild.done["data"])
    needed = {**_added(rebuild, source.lock, stages), **_restored(source.lock, stages)}
    missing = [target for target, name in needed.items() if not _is_complete(name)]
    origin = _fetch(rebuild, missing) if missing else "DVC's cache of this workspace"
    left = [target for target in missing if not _is_complete(needed[target])]
    if left:
        raise UserError(
            f"neither DVC's cache nor the DVC remote has all files of {', '.join(left)}; `dvc "
            "push` in the clone that has them uploads them"
            f"{_search_again(left)}. Received: {origin}"
        )
    for target in needed:  # DVC 3.67 leaves out one of two targets of different kinds
        _run_dvc(rebuild, "checkout", "--force", target)
    rebuild.note("data", origin)
    return origin


def _check_out(rebuild: Rebuild, commit: str, lock: str) -> None:
    root = str(rebuild.root)
    repository = git("rev-parse", "--show-toplevel").stdout.strip()
    for command in (
        ["init", "--quiet", root],
        # Fetching a hash also works for commits without a branch, such as DVC's experiments.
        ["-C", root, "fetch", "--quiet", "--no-tags", "--update-shallow", repository, commit],
        ["-C", root, "checkout", "--quiet", "--force", "--detach", commit],
    ):
        try:
            run(["git", *command], rebuild.environment, log.debug)
        except CommandFailedError as error:
            raise UserError(
                f"git cannot put the commit {commit} into {root}; fix git's error. "
                f"Received: {end_of(error)}"
            ) from None
    if not (rebuild.project / ".dvc").is_dir():  # DVC would use the repository of a folder above.
        raise UserError(f"the commit has no folder .dvc in {rebuild.project}. Received: {commit}")
    (rebuild.project / LOCK).write_text(lock, encoding="utf-8")
    _write_settings(rebuild.project, {"cache.dir": str(cache_folder().absolute())})


def _other_inputs(rebuild: Rebuild, lock: str, stages: Sequence[str]) -> Iterator[str]:
    """Yield the code, params and tracked folders of the checked out commit that differ from `lock`.

    The results of stages, and what is tracked by .dvc files, are not in the folder yet.
    """
    added = _added(rebuild, lock, stages, by="path")
    made = [*dvc_files.outs_in_lock(lock), *added]
    report = json.loads(_run_dvc(rebuild, "status", "--json", *stages) or "{}")
    entries = [entry for stage in report.values() for entry in stage]
    if "changed checksum" in entries:
        yield "command in dvc.yaml"
    for entry in filter(lambda entry: isinstance(entry, dict), entries):
        for path, state in entry.get("changed deps", {}).items():
            if isinstance(state, dict):  # the keys of a file with params
                yield from (f"{key} in {path}" for key in state)
            elif not any(overlap(path, other) for other in made):
                yield path
    for stage in stages:
        recorded = dvc_files.stage_files(lock, stage, "deps")
        yield from (path for path, name in added.items() if recorded.get(path, name) != name)


def _added(
    rebuild: Rebuild, lock: str, stages: Sequence[str], by: str = "target"
) -> dict[str, str]:
    """Return .dvc file → name of its object in DVC's cache, for the .dvc files that stages need.

    by: `path` returns the path of the tracked folder or file instead of the path of the .dvc file.
    """
    found = {}
    listed = git("ls-files", "-z", "*.dvc", root=rebuild.project).stdout
    for target in filter(None, listed.split("\0")):
        outs = dvc_files.added_outs(dvc_files.read_text(rebuild.project / target))
        for out, name in outs.items():
            path = (Path(target).parent / out).as_posix()
            if any(reads(lock, stage, [path]) for stage in stages):
                found[path if by == "path" else target] = name
    return found


def _restored(lock: str, stages: Sequence[str]) -> dict[str, str]:
    """Return path → name of its object, for the results of other stages that `stages` read."""
    own = {path for stage in stages for path in dvc_files.stage_files(lock, stage, "outs")}
    return {
        path: name
        for path, name in dvc_files.outs_in_lock(lock).items()
        if path not in own and any(reads(lock, stage, [path]) for stage in stages)
    }


def _is_complete(name: str) -> bool:
    """Return whether DVC's cache has the object, and all files if it is the listing of a folder."""
    if not name.endswith(dvc_files.FOLDER):
        return dvc_files.object_path(name).is_file()
    try:
        files = dvc_files.read_listing(name)
    except UserError:
        return False
    return all(dvc_files.object_path(md5).is_file() for md5 in set(files.values()))


def _fetch(rebuild: Rebuild, targets: Sequence[str]) -> str:
    """Fetch from the DVC remote of the workspace. Return the remote in words, and DVC's errors."""
    settings = _settings()
    name = settings.get("core.remote")
    if name is None:
        raise UserError(
            f"DVC's cache does not have all files of {', '.join(targets)}, and there is no DVC "
            "remote to fetch them from; run this command in the clone that has them"
            f"{_search_again(targets)}. Received: no setting core.remote"
        )
    remotes = {key: value for key, value in settings.items() if key.startswith("remote.")}
    cache = {"cache.dir": str(cache_folder().absolute())}
    _write_settings(rebuild.project, {**cache, "core.remote": name, **remotes})
    try:
        ended = [capture(*DVC, "fetch", target, root=rebuild.project) for target in targets]
    finally:  # The settings may contain a password.
        _write_settings(rebuild.project, cache)
    problems = [one_line(done.stderr) for done in ended if done.returncode != 0]
    address = without_password(remotes.get(f"remote.{name}.url", ""))
    return " ".join([f"the DVC remote {name} ({address})", *problems])


def _search_again(targets: Sequence[str]) -> str:
    images = any(target.endswith(".dvc") for target in targets)
    return "" if images else ", or --search searches the hyperparameters again"


def _settings() -> dict[str, str]:
    """Return the settings of DVC in the workspace: key → value. Paths are absolute."""
    done = capture(*DVC, "config", "--list")
    pairs = (line.partition("=") for line in done.stdout.splitlines() if "=" in line)
    return {key: value for key, _, value in pairs}


def _write_settings(project: Path, settings: dict[str, str]) -> None:
    """Write the local settings of DVC in the folder, readable by this user only."""
    from configobj import ConfigObj  # DVC reads its settings with it.

    config: Any = ConfigObj(interpolation=False)
    for key, value in settings.items():
        section, option = key.rsplit(".", 1)
        named = re.sub(r"^remote\.(.*)$", r'remote "\1"', section)
        config.setdefault(named, {})[option] = value
    file = project / SETTINGS
    file.touch(mode=0o600)
    file.write_text("\n".join(config.write()) + "\n", encoding="utf-8")


def _run_dvc(rebuild: Rebuild, *arguments: str) -> str:
    """Run DVC in the folder and return what it prints. Raises UserError with DVC's reason."""
    done = capture(*DVC, *arguments, root=rebuild.project)
    if done.returncode != 0:
        raise UserError(
            f"`dvc {arguments[0]}` fails in {rebuild.project}; fix DVC's error and run the command "
            f"again. Received: {dvc_error(done.stderr)}"
        )
    return done.stdout
