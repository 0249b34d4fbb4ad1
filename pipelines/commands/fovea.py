"""A command line `fovea <command> …` → a call of the function that does the work.

Each command has a help text with an example. A command imports its modules only when it runs. So
`fovea --help` is quick.

The registry has numbered versions of a model. The champion is the version with the alias
`champion`. The challenger is the version that may replace the champion. The verdict is the
advice to promote, hold or reject the challenger.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from components.errors import UserError, disk_errors
from pipelines.workspace.environment import check_encoding, quiet_vendors
from pipelines.workspace.messages import NORMAL, QUIET, VERBOSE, end_output, show_messages, visible

if TYPE_CHECKING:
    from components.registry.objections import Judge
    from components.registry.record import Event

COMPLETE = "_FOVEA_COMPLETE"


class Commands(TyperGroup):
    """All commands. A message about a wrong option has only the words that a user needs."""

    def invoke(self, ctx: Any) -> Any:
        """Parse the command line of a command and run it. See `TyperGroup.invoke`."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")  # words of pydantic
            raise


app = typer.Typer(
    name="fovea",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,  # `fovea completion` prints the script, and writes to no file of the user
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

data = typer.Typer(
    help="Add images, show what has changed, and find and repair damaged files.",
    no_args_is_help=True,
    epilog="Example: fovea data add photos.zip, fovea data diff, fovea data verify",
)
app.add_typer(data, name="data")

study = typer.Typer(
    epilog="Example: fovea study, or fovea study stop",
    invoke_without_command=True,
)
app.add_typer(study, name="study")

VersionArgument = Annotated[
    str | None,
    typer.Argument(metavar="VERSION", help="A number or an alias. Default: the challenger."),
]
Reason = Annotated[
    str, typer.Option("--reason", help="The reason in one sentence, for the registry.")
]
WantedModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="FILE|VERSION",
        help="A .keras file, models:/NAME/3, models:/NAME@champion, or @champion for the model "
        "that params.yaml names. Default: the model of this workspace.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; see docs/reviewing.md.")]


class Shell(StrEnum):
    """The shells for which there is a completion script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


class Sample(StrEnum):
    """The names of the samples. Their images are part of an installed package."""

    DIGITS = "digits"


def main() -> None:
    """Run the command line.

    A UserError, or an error of a disk, of rights or of MLflow, is printed as one sentence, and the
    exit status is 1.
    """
    quiet_vendors()
    show_messages()
    if COMPLETE in os.environ:
        # The script of `fovea completion` calls `fovea` with this variable to get completions.
        from typer._completion_classes import completion_init

        completion_init()
    try:
        with disk_errors(), _mlflow_errors():
            app(prog_name=app.info.name)
    except UserError as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)  # noqa: T201
        end_output()
        sys.exit(1)


@contextmanager
def _mlflow_errors() -> Iterator[None]:
    """Raise a UserError in the place of an error of MLflow, such as that nobody may write there."""
    try:
        yield
    except Exception as error:
        from components.tracking.connection import error_of_mlflow

        sentence = error_of_mlflow(error)
        if sentence is None:
            raise
        raise sentence from None


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Answer Ctrl-C in one sentence. name: a command that changes no file before its end."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"fovea {name} was interrupted; nothing was changed", file=sys.stderr)  # noqa: T201
        raise typer.Exit(130) from None


def _show_version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        print(f"fovea {metadata.version('fovea')}")  # noqa: T201
        raise typer.Exit


@app.callback(epilog="Example: fovea --quiet data add photos.zip")
def set_messages(
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print results, warnings and errors only.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Also print each command that is run.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version of Fovea."
        ),
    ] = False,
) -> None:
    """Retrain image classifiers, and decide which version is the champion (the version in use)."""
    if quiet and verbose:
        raise typer.BadParameter("give only one of --quiet and --verbose. Received: both")
    show_messages(level=QUIET if quiet else VERBOSE if verbose else NORMAL)
    check_encoding()


class Card(StrEnum):
    """The names of the cards. `fovea init` writes params.yaml from a card."""

    PHOTOS = "photos"
    DIGITS = "digits"


class Preset(StrEnum):
    """The names of the presets of the card for photographs, from the fastest to the best."""

    QUICK = "quick"
    STANDARD = "standard"
    BEST = "best"


@app.command(epilog="Example: fovea init --name birds --floors accuracy=0.9,recall=0.6")
def init(
    name: Annotated[
        str | None, typer.Option("--name", help="The model's name in the registry.")
    ] = None,
    card: Annotated[
        Card, typer.Option("--card", help="photos: for your own images; digits: for the demo.")
    ] = Card.PHOTOS,
    preset: Annotated[
        Preset,
        typer.Option(
            "--preset",
            help="quick: a short training; standard: the usual one; best: a long one.",
        ),
    ] = Preset.STANDARD,
    floors: Annotated[
        str,
        typer.Option(
            "--floors",
            metavar="NAME=NUMBER,…",
            help="Minimum accuracy, balanced_accuracy or recall (of each class) of a version.",
        ),
    ] = "",
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Write sizes for one GPU, not for two processor cores.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove files without asking.")] = False,
) -> None:
    """Start with your own images: write params.yaml for them, and remove the demo's data.

    Only the demo's digits and their results are removed. The command lists
    them and asks first. If there are results of other images than the demo's,
    nothing is changed. If params.yaml has uncommitted changes, it is first copied to
    params.yaml.bak.
    """
    from pipelines.commands.init import init as start

    start(card.value, preset.value, name, floors, gpu, agreed=yes)


@app.command(epilog="Example: fovea retrain --pull --push, or fovea retrain --from champion")
def retrain(
    pull: Annotated[bool, typer.Option("--pull", help="Run `dvc pull` before the stages.")] = False,
    push: Annotated[bool, typer.Option("--push", help="Run `dvc push` after the stages.")] = False,
    start_from: Annotated[
        Literal["champion"] | None,
        typer.Option(
            "--from",
            help="Start from the champion's weights, and a search from its hyperparameters; "
            "writes and commits params.yaml.",
        ),
    ] = None,
    branch: Annotated[
        str | None, typer.Option("--branch", metavar="NAME", help="Commit on a new branch.")
    ] = None,
    no_commit: Annotated[
        bool, typer.Option("--no-commit", help="Write params.yaml, but commit nothing.")
    ] = False,
    apart: Annotated[bool, typer.Option("--apart", hidden=True)] = False,
) -> None:
    """Run every stage that is not up to date, as a Prefect flow.

    `dvc repro` gives the same results. The flow waits while another process
    uses this repository, repeats a failed pull or push, and shows each stage on
    Prefect's page. With --from champion, the flow commits params.yaml before
    the stages run. After the stages, it commits dvc.lock and data/raw.dvc. No
    other file is committed. Exits with 1 if a stage fails.
    """
    from pipelines.commands.retrain import Options, start, start_apart

    options = Options(pull, push, start_from, branch, not no_commit)
    raise typer.Exit(start(options) if apart else start_apart(options))


@app.command(epilog="Example: fovea sample digits")
def sample(
    name: Annotated[Sample, typer.Argument(help="digits: 1,797 handwritten digits.")],
) -> None:
    """Write sample images into data/raw and track them with DVC. Overwrites nothing."""
    from pipelines.commands.sample import write_sample

    write_sample(name.value)


@data.command(epilog="Example: fovea data add photos.zip, or fovea data add new/cats --into cat")
def add(
    path: Annotated[Path, typer.Argument(help="A folder, a file, or an archive (zip or tar).")],
    into: Annotated[
        str,
        typer.Option("--into", metavar="SUBFOLDER", help="The folder below data/raw to add to."),
    ] = "",
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Overwrite old files that have the same name but other content."
        ),
    ] = False,
) -> None:
    """Copy a folder's content, a file or an archive's content into data/raw, and `dvc add` it.

    All files are added, or none. Links are refused. Hidden files are left out.
    Each copy is read again and compared with its source. Archives: zip, tar,
    tar.gz, tar.bz2, tar.xz. Adding the same files again changes nothing.
    """
    from pipelines.commands.data_add import add_images

    add_images(path, into, replace)


@data.command(epilog="Example: fovea data diff, fovea data diff v1.0, or fovea data diff --json")
def diff(
    revision: Annotated[
        str | None,
        typer.Argument(
            metavar="REV",
            help="A commit, branch or tag. Default: the newest commit with other images.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the changes as JSON.")] = False,
) -> None:
    """Show which images were added, removed, relabelled, moved or changed since a revision.

    The command compares the tables of images that the stage `ingest` writes.
    So if images have changed, first run `dvc repro ingest`. Images are compared
    by content: a file with a new name counts as moved, and a file in another
    class folder counts as relabelled.
    """
    from pipelines.commands.data_diff import show_difference

    show_difference(revision, as_json)


@data.command(epilog="Example: fovea data verify, or fovea data verify --heal")
def verify(
    heal: Annotated[bool, typer.Option("--heal", help="Repair damage from intact copies.")] = False,
) -> None:
    """Read all tracked files and DVC's cache, and list what differs from DVC's records.

    With --heal, a file of the cache is repaired from the same file outside of
    the cache, or from the DVC remote. A file outside of the cache is repaired
    only if DVC sees no change of its inode, time or size. An edit changes at
    least one of them, so edited files are only listed. Exits with 1 if damage
    is left, or if files of data/raw are changed or missing.
    """
    from pipelines.commands.data_verify import verify_data

    if not verify_data(heal):
        raise typer.Exit(1)


@app.command(epilog="Example: fovea doctor")
def doctor() -> None:
    """Check what could stop a run, and say what to do. Exits with 1 if a check fails."""
    from pipelines.commands.console import show_checks
    from pipelines.commands.doctor import examine

    if not show_checks(examine()):
        raise typer.Exit(1)


@app.command(epilog="Example: fovea labels")
def labels() -> None:
    """Rank all images by how well their label fits, judged by the trained model.

    Run it after `dvc repro`, to find wrong labels that the report of the stage
    `validate` does not show. It reads every image once and trains nothing again.
    It writes .fovea/labels/label_scores.csv and .fovea/labels/report.html.
    """
    from pipelines.commands.labels import write_ranking

    with _reading("labels"):
        write_ranking()


@app.command(epilog="Example: fovea model, or fovea model --layers")
def model(
    layers: Annotated[
        bool, typer.Option("--layers", help="Print every layer, not a line for each block.")
    ] = False,
) -> None:
    """Print the layers of the network that params.yaml describes, and what they cost.

    For each block of layers: the shape of its output, its parameters, its
    multiply-adds for one image, and its receptive field (the side of the square
    of pixels that it sees). Blocks are counted from the output, so
    `unfreeze: {last_blocks: n}` trains the blocks 1 to n, and the head. The
    network is built without weights.
    """
    from pipelines.commands.model import show_model

    show_model(every_layer=layers)


@app.command(epilog="Example: fovea backbones, or fovea backbones --measure mobilenet_v2 resnet50")
def backbones(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME …", help="Default: all backbones.")
    ] = None,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Measure images per second here; some seconds for each."),
    ] = False,
) -> None:
    """List the backbones: parameters, multiply-adds, smallest images and widths."""
    from pipelines.commands.backbones import show_backbones

    show_backbones(names or [], measured=measure)


@app.command(epilog="Example: fovea balance, or fovea balance --seeds 10")
def balance(
    seeds: Annotated[
        int,
        typer.Option("--seeds", min=2, max=100, help="More seeds give narrower intervals."),
    ] = 5,
) -> None:
    """Compare all methods against classes with unequal numbers of images.

    Each method trains only the head, with several seeds, on stored features of
    train and val. It prints what each gains in macro F1, in the recall of
    rare classes and in accuracy, and the command for the best one. Run it after
    `dvc repro balance`. It changes no result, and writes
    .fovea/balance/comparison.csv and .fovea/balance/report.html.
    """
    from pipelines.commands.balance import compare_methods

    with _reading("balance"):
        compare_methods(seeds)


@app.command(epilog="Example: fovea register")
def register() -> None:
    """Register the model of this workspace in MLflow, if it has no version there.

    `dvc repro` and `fovea retrain` register every new model. This command is for
    the other cases: after `dvc exp apply` or `dvc pull`, with another MLflow, or
    if the version was deleted. The version becomes the challenger. It is served
    once, and its answers are compared with those of the stage `evaluate`, also if
    MLflow has it already.
    """
    from pipelines.commands.register import register_model

    register_model()


@app.command(epilog="Example: fovea sync")
def sync() -> None:
    """Deliver to MLflow what earlier stages have logged while MLflow did not answer.

    A stage writes params, metrics and files for MLflow to .fovea/tracking first.
    If MLflow does not answer, they wait there; the next stage that uses MLflow
    delivers them, or this command. Nothing is logged twice. A run whose process
    was killed gets the status KILLED. Exits with 1 if something is left.
    """
    from pipelines.commands.sync import deliver_records

    if not deliver_records():
        raise typer.Exit(1)


@app.command(epilog="Example: fovea review, or fovea review --json")
def review(as_json: AsJson = False) -> None:
    """Show the metrics of challenger and champion, and the verdict."""
    from pipelines.commands.review import show_review

    show_review(_model_name(), as_json=as_json)


@app.command(epilog='Example: fovea promote 3 --reason "fewer mistakes between glass and plastic"')
def promote(
    reason: Reason,
    version: VersionArgument = None,
    override: Annotated[
        bool,
        typer.Option(
            "--override",
            help="Promote it without the verdict `promote` against the present champion. The "
            "record names what was overridden.",
        ),
    ] = False,
) -> None:
    """Make a version the champion.

    The version needs the verdict `promote` from a comparison with the present
    champion. If the champion has changed since the verdict, the version is
    judged again first, on the test images of this folder.
    """
    from components.registry.promotion import promote as decide
    from pipelines.commands.review import take_decision
    from pipelines.commands.workspace_model import check_meant
    from pipelines.workspace.lineage import who

    name = _model_name()

    def check_and_promote(judge: "Judge") -> "Event":
        check_meant(name, version)
        return decide(name, version, reason, who(), judge, override=override)

    take_decision(name, check_and_promote)


@app.command(epilog='Example: fovea reject --reason "trained on the old camera"')
def reject(reason: Reason, version: VersionArgument = None) -> None:
    """Reject a version, so that it is no longer the challenger."""
    from components.registry.promotion import reject as decide
    from pipelines.commands.review import take_decision
    from pipelines.commands.workspace_model import check_meant
    from pipelines.workspace.lineage import who

    name = _model_name()

    def check_and_reject(judge: "Judge") -> "Event":
        check_meant(name, version)
        return decide(name, version, reason, who(), judge)

    take_decision(name, check_and_reject)


@app.command(epilog='Example: fovea rollback --reason "too many wrong alarms in hall 2"')
def rollback(
    reason: Reason,
    override: Annotated[
        bool,
        typer.Option(
            "--override",
            help="Go back to a version that was rejected or rolled back. The record names what "
            "was overridden.",
        ),
    ] = False,
) -> None:
    """Make the previous champion the champion again."""
    from components.registry.promotion import rollback as decide
    from pipelines.commands.review import take_decision
    from pipelines.workspace.lineage import who

    name = _model_name()
    take_decision(name, lambda _: decide(name, reason, who(), override=override))


class PhaseName(StrEnum):
    """The names of the phases of a training."""

    HEAD = "head"
    FINETUNE = "finetune"


@app.command(epilog="Example: fovea lr, or fovea lr --phase head")
def lr(
    phase: Annotated[
        PhaseName, typer.Option("--phase", help="finetune or head: the phase to test.")
    ] = PhaseName.FINETUNE,
) -> None:
    """Find a learning rate: train some batches while the rate rises, and draw the loss.

    Needs the results of the stages up to `balance`, and changes no result. The
    last line that is printed trains with the rate that was found.
    """
    from pipelines.commands.learning_rate import find_learning_rate

    with _reading("lr"):
        find_learning_rate(phase.value)


@app.command(epilog="Example: fovea history, or fovea history --json")
def history(as_json: AsJson = False) -> None:
    """Show who promoted, rejected or rolled back which version, when and why."""
    from pipelines.commands.review import show_history

    show_history(_model_name(), as_json=as_json)


@app.command(epilog="Example: fovea explain 3, or fovea explain champion --json")
def explain(
    version: Annotated[str, typer.Argument(help="A number, or an alias such as champion.")],
    as_json: AsJson = False,
) -> None:
    """Show which code, data and params made a version, and how to build it again."""
    from pipelines.commands.explain import show_lineage

    show_lineage(_model_name(), version, as_json=as_json)


@app.command(
    epilog="Example: fovea explain-image photo.jpg, or fovea explain-image cat/*.jpg --class dog"
)
def explain_image(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH …", help="Image files, or paths below data/raw as in the reports."
        ),
    ],
    model: WantedModel = None,
    class_name: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="Default: the predicted class."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer",
            metavar="NAME",
            help="Also show maps of this layer; `fovea model --layers` lists the layers.",
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FOLDER", help="Default: .fovea/explanations."),
    ] = None,
    nearest: Annotated[
        int,
        typer.Option(
            "--nearest", min=0, max=50, help="Training images that look alike; 0 looks for none."
        ),
    ] = 6,
) -> None:
    """Show where a model sees what speaks for a class in an image (Grad-CAM).

    For each image, a page has the image, the map over it, the most probable
    classes, and the training images that look alike to the model. Yellow marks
    what speaks for the class, dark blue what does not. With --class, the map is
    for another class than the predicted one. Looking for training images takes
    long the first time, as the features of all of them are computed. See
    docs/explanation.md for what such a map can say and what it cannot.
    """
    from pipelines.commands.explain_image import FOLDER, Options, explain_paths

    options = Options(model, class_name, layer, to or FOLDER, nearest)
    with _reading("explain-image"):
        explain_paths(paths, options)


class ExportTarget(StrEnum):
    """The formats of `fovea export`."""

    SAVED_MODEL = "saved_model"
    ONNX = "onnx"
    LITERT = "litert"
    LITERT_INT8 = "litert-int8"


@app.command(
    epilog="Example: fovea export --to onnx, or fovea export --to litert-int8 --model @champion"
)
def export(
    to: Annotated[
        ExportTarget,
        typer.Option(
            "--to", help="For TensorFlow Serving, onnxruntime, or telephones (floats, or int8)."
        ),
    ],
    model: WantedModel = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="PATH", help="Default: a name in data/export."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an earlier export at this path.")
    ] = False,
) -> None:
    """Write a model in another format, and compare it with the model on the test split.

    The export takes pixels, uint8 [N, size, size, 3], and gives probabilities.
    A JSON file beside it says how an image becomes these pixels, and names the
    classes. If the export loses more accuracy than export.max_accuracy_drop, it
    is refused. data/export/report.html compares the exports of a model:
    accuracy, size, and milliseconds for a batch. See docs/export.md.
    """
    from pipelines.commands.export import Options, export_model

    with _reading("export"):
        export_model(Options(to.value, model, output, replace))


@app.command(epilog="Example: fovea reproduce 3, or fovea reproduce champion --here")
def reproduce(
    version: Annotated[str, typer.Argument(help="A number, or an alias such as champion.")],
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="FOLDER", help="Default: .fovea/reproduce/NAME-NUMBER."),
    ] = None,
    here: Annotated[
        bool, typer.Option("--here", help="Use the packages of this environment.")
    ] = False,
    search: Annotated[
        bool, typer.Option("--search", help="Also search the hyperparameters again.")
    ] = False,
    dirty: Annotated[
        bool, typer.Option("--dirty", help="Go on if no commit has exactly the model's code.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a version's model again in an empty folder, and name the first stage that differs.

    The folder gets the commit, the images, the hyperparameters and the
    packages of the version. The workspace, its MLflow and the version stay as
    they are. After Ctrl-C the same command goes on. Exits with 0 if the model
    is the same, byte for byte; 3 if it is another model; 1 if it cannot be
    made; 130 after Ctrl-C.
    """
    from pipelines.commands.reproduce import Options
    from pipelines.commands.reproduce import reproduce as make_again

    options = Options(into, here, search, dirty, as_json)
    raise typer.Exit(make_again(_model_name(), version, options))


@study.callback()
def show(context: typer.Context) -> None:
    """Show the search of hyperparameters of this workspace: what it found, or does now.

    A search runs in the stage `search`, so `dvc repro` starts it, if
    `search.trials` in params.yaml is above 0. This command shows the newest
    search, also while it runs: its state, its rungs (what all trials train, then
    the rounds of the best ones, then the confirmation on folds), the best trials
    with their hyperparameters and confirmed values, what runs now on which
    worker, and what failed and why. It changes nothing. `fovea ui` serves pages
    with pictures of the same search.
    """
    if context.invoked_subcommand is None:
        from pipelines.commands.study import show_study

        show_study()


@study.command(epilog="Example: fovea study stop")
def stop() -> None:
    """End the running search in good order, with the best trial so far.

    No further trial starts. The trials that run are finished, so this may take
    as long as one of them. The rounds and the confirmation that have not begun
    are left out, and the report says so. If the same search is run again, by
    `dvc repro --single-item --force search`, it goes on where it was stopped.
    """
    from pipelines.commands.study import stop_study

    stop_study()


@app.command(epilog="Example: fovea ui --port 5001")
def ui(
    port: Annotated[
        int,
        typer.Option(
            min=1, max=65535, help="First port to try. If it is in use, the next port is tried."
        ),
    ] = 5000,
) -> None:
    """Serve MLflow's page, and Optuna's page of a search, on 127.0.0.1 until Ctrl-C.

    The printed address is that of the registered model's page. If
    MLFLOW_TRACKING_URI is not an sqlite file, only the address is printed. If
    there is a search in this workspace, Optuna Dashboard shows its trials on
    the next port, also while it runs. On Optuna's page you can also delete the
    search: it has no other copy.
    """
    from pipelines.commands.ui import serve

    name = None
    with suppress(UserError):  # A mistake in params.yaml is no reason to hide MLflow's page.
        name = _model_name()
    serve(port, name)


@app.command(epilog="Example: fovea completion bash")
def completion(
    shell: Annotated[Shell, typer.Argument(help="The name of your shell.")],
) -> None:
    """Print the script with which a shell completes commands and options of fovea.

    bash: add `eval "$(fovea completion bash)"` to ~/.bashrc.
    zsh: add `eval "$(fovea completion zsh)"` to ~/.zshrc, after `compinit`.
    fish: `fovea completion fish > ~/.config/fish/completions/fovea.fish`
    """
    from typer._completion_shared import get_completion_script

    prog_name = str(app.info.name)
    print(get_completion_script(prog_name=prog_name, complete_var=COMPLETE, shell=shell.value))  # noqa: T201


class TableFormat(StrEnum):
    """The formats in which `fovea predict` writes its rows."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


@app.command(
    epilog="Example: fovea predict photos/ --model @champion --output answers.csv, or "
    "find . -name '*.jpg' | fovea predict -"
)
def predict(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH …",
            help="Images, folders, archives (zip or tar), tables with a column `path`, or - for "
            "standard input: one image, or the path of an image in each line.",
        ),
    ],
    model: WantedModel = None,
    to: Annotated[
        TableFormat | None,
        typer.Option("--to", help="Default: as the name of --output says; else csv."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Default: standard output."),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", min=1, help="The number of most probable classes in a row.")
    ] = 1,
) -> None:
    """Predict the classes of images, and write one row for each of them.

    A row has the path, the label and its probability, or the code of the fault
    for which the image is refused, and the reason. No image is left out, but
    hidden files in folders and archives. The images are decoded and resized as
    those on which the model was trained. Exits with 0 if all images have a
    label; 3 if some were refused; 1 if none has a label. See docs/serving.md.
    """
    from pipelines.commands.predict import Options, predict_paths

    options = Options(model, to.value if to else None, output, top)
    with _reading("predict"):
        raise typer.Exit(predict_paths(paths, options))


@app.command(epilog="Example: fovea serve --shadow @challenger --port 8080")
def serve(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="FILE|VERSION",
            help="A .keras file, models:/NAME/3, models:/NAME@ALIAS, or @ALIAS.",
        ),
    ] = "@champion",
    shadow: Annotated[
        str | None,
        typer.Option(
            "--shadow",
            metavar="FILE|VERSION",
            help="A second model that is asked and compared, but does not answer.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", metavar="IP", help="0.0.0.0 answers other machines, too.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is a free one.")] = 8000,
    every: Annotated[
        float,
        typer.Option(
            "--check-every", min=0.1, metavar="SECONDS", help="Between two looks at the alias."
        ),
    ] = 10.0,
    images: Annotated[
        int, typer.Option("--max-images", min=1, max=10_000, help="The most of one request.")
    ] = 256,
    megabytes: Annotated[
        int, typer.Option("--max-megabytes", min=1, max=2000, help="The most of one request.")
    ] = 64,
    seconds: Annotated[
        float,
        typer.Option("--timeout", min=1.0, max=3600.0, metavar="SECONDS", help="For an answer."),
    ] = 30.0,
) -> None:
    """Answer for images over HTTP until Ctrl-C: POST /predict and /predict/explain.

    The page of the server has a place to drop a picture on, and examples for
    curl and Python. If the alias of --model moves, the new version answers, once
    it is checked, loaded and compiled; no request is lost. If FOVEA_SERVE_TOKEN
    is set, every request needs it. See docs/serving.md.
    """
    from components.serving.server.bodies import Limits
    from pipelines.commands.serve import Options
    from pipelines.commands.serve import serve as answer

    size = megabytes * 1_000_000
    limits = Limits(images, size, max(8 * size, Limits.all_bytes), seconds)
    with _reading("serve"):
        answer(Options(model, shadow, host, port, every, limits))


@app.command(epilog="Example: fovea summary")
def summary() -> None:
    """Show the results of the last run, and the next commands."""
    from pipelines.commands.summary import show_summary

    show_summary()


def _model_name() -> str:
    from components.params.reader import read_params

    return read_params(Path("params.yaml")).register_.name


if __name__ == "__main__":
    main()
