"""params.yaml → checked params that cannot change.

There are no default values. So the file must contain every value.
"""

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from components.errors import UserError
from components.params import yaml_text
from components.params.augmentation import changes_images
from components.params.balance import Balance
from components.params.blocks import check_old_share
from components.params.evaluate import Evaluate
from components.params.export import Export
from components.params.hyperparameters import Hyperparameters
from components.params.ingest import Ingest
from components.params.model import OF_THE_HEAD, Model
from components.params.prepare import Prepare
from components.params.register import Register
from components.params.search import Search, check_old_keys
from components.params.search_checks import check_search, trials_to_check, with_conditions
from components.params.search_rungs import check_rungs
from components.params.section import Section
from components.params.sentences import broken_rules, in_yaml
from components.params.split import Split
from components.params.train import Train
from components.params.validate import Validate

# Values of `model` and `train` that a search cannot choose → why.
NOT_SEARCHED = {
    "train.seed": "a search over seeds finds only the seed that fits the split val by chance",
    "train.threads": "all trials run with the same threads, because a process cannot change them",
    "model.logit_adjustment": "no trial adjusts its logits, because this is done after training",
    "model.views": "no trial averages views, because this is done after training",
    "model.hidden": "a search tries single values, and model.hidden is a list",
}


class Params(Section):
    """All values of params.yaml: a section for each stage, and the sections `model` and `export`.

    The rules are checked for the values in params.yaml, and also for the values in `search.space`,
    with which a search may replace them.
    """

    ingest: Ingest
    validate_: Validate = Field(alias="validate")
    split: Split
    prepare: Prepare
    balance: Balance
    model: Model
    train: Train
    search: Search
    evaluate: Evaluate
    register_: Register = Field(alias="register")
    export: Export

    @model_validator(mode="before")
    @classmethod
    def _check_old_forms(cls, tree: Any) -> Any:
        if isinstance(tree, dict) and "seed" in tree:
            written = f"seed: {in_yaml(tree['seed'])}"
            raise ValueError(
                f"`seed` is now `split.seed` and `train.seed`: remove the line `{written}`, and "
                f"write `{written}` below `split:` and below `train:`; splits and models stay the "
                f"same. Received: {written}"
            )
        check_old_share(tree)
        check_old_keys(tree)
        return tree

    @model_validator(mode="after")
    def _check_search_space(self) -> "Params":
        try:
            written = Hyperparameters(model=self.model, train=self.train)
        except ValidationError as error:
            raise ValueError("; ".join(broken_rules(error, {}, Hyperparameters))) from None
        space = self.search.space
        if name := next((name for name in NOT_SEARCHED if name in space), None):
            raise ValueError(
                f"search.space: {NOT_SEARCHED[name]}; remove this key. Received: {name}"
            )
        if "train.augmentation" in space and (
            name := next((key for key in space if key.startswith("train.augmentation.")), None)
        ):
            raise ValueError(
                "search.space: a trial has a policy or ranges of changes, not both; remove this "
                f"key, or train.augmentation. Received: {name}"
            )
        self._check_balance(written)
        check_search(self.search, written, self._check_balance)
        check_rungs(self.search, written)
        return self

    def _check_balance(self, tried: Hyperparameters) -> None:
        """Raise ValueError if the hyperparameters do not fit the section `balance`."""
        self._check_strategy(tried)
        self._check_costs(tried)

    def _check_strategy(self, tried: Hyperparameters) -> None:
        """Raise ValueError if the hyperparameters leave out what `balance.strategy` is about.

        SMOTE makes features for the phase `head`, and augment_minority changes copies of images.
        """
        if self.balance.strategy == "augment_minority" and not changes_images(
            tried.train.augmentation
        ):
            raise ValueError(
                "balance.strategy: augment_minority repeats the random changes of "
                "train.augmentation, which has none; write oversample, or another "
                "train.augmentation. Received: augment_minority without random changes"
            )
        epochs, weights = tried.train.head.epochs, tried.model.weights
        if self.balance.strategy == "smote" and (not epochs or weights == "none"):
            raise ValueError(
                "balance.strategy: smote makes features for the phase `head`, which is left out; "
                "write oversample, or give train.head.epochs and model.weights values with which "
                f"there is this phase. Received: train.head.epochs: {epochs}, "
                f"model.weights: {weights}"
            )

    def _check_costs(self, tried: Hyperparameters) -> None:
        """Raise ValueError if the loss is about costs, and `balance.costs` is empty."""
        if tried.train.loss == "cost_sensitive" and not self.balance.costs:
            raise ValueError(
                "train.loss: cost_sensitive needs costs; write them into balance.costs, such as "
                "{glass: {metal: 5}}, or choose another loss. "
                f"Received: balance.costs: {in_yaml(self.balance.costs)}"
            )

    def models_to_try(self, searched: str = "") -> list[Model]:
        """Return the section `model` of params.yaml, then its variants that a search may try.

        The caller checks the backbones and the weights of these models. The head has no influence
        on this check, so all models have the head in params.yaml. For a range of widths without a
        step, only the models with the lowest and the highest width are returned. So the caller also
        checks whether a backbone accepts all widths in between.

        searched: a name, such as `model.width`; then only the variants of trials that choose it are
        returned.
        """
        space = self.search.space if self.search.trials else {}
        head = {f"model.{name}" for name in OF_THE_HEAD}
        names = [name for name in space if name.startswith("model.") and name not in head]
        written = Hyperparameters(model=self.model, train=self.train)
        models = [] if searched else [self.model]
        for trial in trials_to_check(space, written, with_conditions(names, space)):
            if not searched or searched in trial:
                chosen = {name: trial[name] for name in names if name in trial}
                update = {name.removeprefix("model."): value for name, value in chosen.items()}
                models.append(Model.model_validate(self.model.model_dump() | update))
        return list(dict.fromkeys(models))

    def section(self, name: str) -> Any:
        """Return the section or value that params.yaml has under the key `name`."""
        return getattr(self, f"{name}_" if name in ("validate", "register") else name)


def read_params(path: Path) -> Params:
    """Read and check params.yaml.

    path: the path of the file.
    Raises UserError if the file is missing, is not UTF-8 text, is not valid YAML, has a key twice,
    or breaks a rule. If a rule is broken, the message contains the key, the rule and the received
    value. If a value is missing, the message contains the key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"no params file; run from the repository's root. Received: {path}"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} must be text in UTF-8. Received: {error}") from None
    return parse_params(text, path)


def parse_params(text: str, path: Path) -> Params:
    """Check the text of params.yaml, and return its values.

    path: the path of the file; only error messages contain it.
    Raises UserError in the same cases as `read_params`, but for those about the file itself.
    """
    tree = with_tuples(yaml_text.parse(text, path))
    if not isinstance(tree, dict):
        received = "an empty file" if tree is None else in_yaml(tree)
        raise UserError(
            f"{path} must have sections such as `train:`; `fovea init` writes a complete file. "
            f"Received: {received}"
        )
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{path}: " + "; ".join(broken_rules(error, tree, Params))) from None


def with_tuples(node: Any) -> Any:
    """Replace all lists by tuples, because tuples cannot change. Replace all keys by strings."""
    if isinstance(node, dict):
        return {str(key): with_tuples(value) for key, value in node.items()}
    return tuple(map(with_tuples, node)) if isinstance(node, list) else node
