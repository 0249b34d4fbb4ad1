"""params.yaml: every broken rule names the key, the rule and what was received."""

import copy
import re
from datetime import date
from functools import reduce
from operator import getitem

import pytest
from pydantic import ValidationError

from components.errors import UserError
from components.params import yaml_text
from components.params.augmentation import Augmentation
from components.params.hyperparameters import Hyperparameters
from components.params.reader import Params, read_params, with_tuples
from components.params.sentences import broken_rules
from components.params.train import LastBlocks
from tests.cards import DIGITS

TEXT = DIGITS.read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed: 1 ", "sead: 1 ", r"split\.sead is not a known key; write seed\. Received: 1"),
        (
            "seed: 1 ",
            "",
            r"yaml: split\.seed and train\.seed are missing; write them into params\.yaml, because "
            r"there are no defaults$",
        ),
        (
            "hidden: []",
            "hidden: [256, -1]",
            r"model\.hidden, entry 2, should be greater than or equal to 1\. Received: -1$",
        ),
        ("dropout: 0.2", "dropout: 2", r"model\.dropout should be less than 1\. Received: 2"),
        ("loss: cross_entropy", "loss: mse", r"train\.loss should be 'cross_entropy', .*'mse'"),
        (
            "costs: {}",
            "costs: [[0, 1], [5, 0]]",
            r"balance\.costs should be a section with keys and values\. Received: \[\[0, 1\], \[5",
        ),
        (
            "costs: {}",
            "costs: {3: 8}",
            r"balance\.costs\.3 should be a section with keys and values\. Received: 8$",
        ),
        (
            "costs: {}",
            "costs: {3: {8: -1}}",
            r"balance\.costs\.3\.8 should be greater than or equal to 0\. Received: -1$",
        ),
        (
            "    - contrast\n",
            "    - snow\n",
            r"evaluate\.corruptions\.kinds, entry 2, should be 'gaussian_noise', .*'snow'$",
        ),
        (
            "slices: []",
            "slices: [day, day]",
            r"evaluate\.slices should have each entry once\. Received: .*day.*day",
        ),
        (
            "- contrast",
            "- jpeg_compression",
            r"evaluate\.corruptions\.kinds should have each entry once\. Received: ",
        ),
        (
            "costs: {}",
            "costs: {'3': {'8': 1.0e+30}}",
            r"balance\.costs\.3\.8 should be less than or equal to 1000000\. Received: 1e\+30$",
        ),
        ("top_k: 3", "top_k: 1", r"evaluate\.top_k should be greater than or equal to 2\."),
        ("batch_size: 32", "batch_size: 3.5", r"train\.batch_size should be a valid integer.*3\.5"),
        ("val: 0.15", "val: 0.9", r"val \+ test must be below 1"),
        ("labels: any", "labels: 3", r"validate\.label_known\.labels .*Received: 3"),
        (
            "train.weight_decay:",
            "train.weight_dekay:",
            r"train\.weight_decay.*Received: train\.weight_dekay$",
        ),
        (
            "model.dropout:",
            "prepare.size:",
            r"only values of model and train .*Received: prepare\.size",
        ),
        ("low: 0.0005, high: 0.01", "low: 0.1, high: 0.01", r"low must be below high"),
        ("low: 0.00001,", "low: 0,", r"low must be above 0 if log is true"),
        ("[0.0, 0.2, 0.4]", "[0.0, 7]", r"model\.dropout should be less than 1\. Received: 7"),
        ("[0.0, 0.2, 0.4]", "[]", r"search\.space\.model\.dropout\.choices"),
        ("  strategy: none", "  strategy: [", r"is not valid YAML; correct line 8\d or a line sho"),
        (
            "  strategy: none",
            "<<<<<<< HEAD\n  strategy: none\n=======\n  strategy: oversample\n>>>>>>> theirs",
            r"has a conflict of git in line 79: keep one of the two versions\. Received",
        ),
        ("dropout: 0.2", "dropout: &a [*a]", r"inside of its own anchor .*; write the value"),
        (TEXT, "# a comment", r"must have sections .*Received: an empty file"),
        ("    epochs: 8\n", "    epochs: 0\n", r"nothing would be trained: raise train\.finetune"),
        ("low: 0.0005, high: 0.01, log: true", "low: 0, high: 1, log: false", r"greater than 0"),
        (
            "    model.dropout:",
            "    train.head.epochs: {choices: [0, 9]}\n"
            "    model.weights: {choices: [none, imagenet]}\n"
            "    train.finetune.epochs: {low: 0, high: 9, log: false}\n    model.dropout:",
            r"search\.space: nothing would be trained: raise train\.finetune\.epochs",
        ),
        (
            "    model.dropout:",
            "    train.batch_size: {low: 8.0, high: 64, log: true}\n    model.dropout:",
            r"space\.train\.batch_size\.low should be a valid integer, .*write 8\. Received: 8\.0$",
        ),
        (
            "    model.dropout:",
            "    train.seed: {choices: [1, 2]}\n    model.dropout:",
            r"search\.space: a search over seeds .*Received: train\.seed$",
        ),
        (
            "  primary: accuracy # or",
            "  # or",
            r"register\.primary is missing; write `primary: accuracy # or balanced_accuracy, macro",
        ),
        (
            "  threads: 4 # processor threads of the network; on a CPU another number gives other "
            "weights\n",
            "",
            r"train\.threads is missing; write `threads: 4` into the section `train`",
        ),
        (
            "    views: 0 # changed",
            "    # changed",
            r"train\.head\.views is missing; write `views: 0` into the section `head` of `train`",
        ),
        (
            "  mixup: 0.0 # alpha",
            "  # alpha",
            r"train\.mixup is missing; write `mixup: 0.0` into the section `train`",
        ),
        ("cutmix: 0.0", "cutmix: -1.0", r"train\.cutmix should be greater than or equal to 0"),
        ("mix_until: 0.8", "mix_until: 2", r"train\.mix_until should be less than or equal to 1"),
        (
            "    model.dropout:",
            "    train.augmentation: {choices: [light, mild]}\n    model.dropout:",
            r"search\.space: train\.augmentation should be a policy \('none', .*Received: 'mild'",
        ),
        (
            "    model.dropout:",
            "    train.augmentation: {choices: [light, medium]}\n    train.augmentation.rotate: "
            "{choices: [9, 10]}\n    model.dropout:",
            r"a trial has a policy or ranges .*Received: train\.augmentation\.rotate$",
        ),
        (
            "strategy: none",
            "strategy: class_weight",
            r"balance\.strategy should be inverse_weights, which is the new name of class_weight\. "
            r"Received: 'class_weight'",
        ),
        (
            "  effective_number_beta: 0.999",
            "  # effective_number_beta: 0.999",
            r"balance\.effective_number_beta is missing; write `effective_number_beta: 0\.999`",
        ),
        ("_beta: 0.999", "_beta: 1", r"effective_number_beta should be less than 1\. Received: 1"),
        (
            "  logit_adjustment: tuned",
            "  # logit_adjustment: tuned",
            r"model\.logit_adjustment is missing; write `logit_adjustment: none` into the section",
        ),
        (
            "    model.dropout:",
            "    model.logit_adjustment: {choices: [none, tuned]}\n    model.dropout:",
            r"search\.space: no trial adjusts its logits, .*Received: model\.logit_adjustment$",
        ),
        ("views: 0", "views: 33", r"train\.head\.views should be less than or equal to 32"),
        (
            "    stages: 1 #",
            "    #",
            r"finetune\.stages is missing; write `stages: 1` into the section",
        ),
        ("ema: 0.0", "ema: 1.0", r"train\.average\.ema should be less than 1\. Received: 1\.0"),
        ("soup: 0", "soup: 2.5", r"train\.average\.soup should be a valid integer"),
        (
            "unfreeze: all",
            "unfreeze: most",
            r"train\.finetune\.unfreeze should be none, all, or .*'most'",
        ),
        (
            "unfreeze: all",
            "unfreeze: 1.0",
            r"params\.yaml: train\.finetune\.unfreeze is now none, all, or \{last_blocks: 3\} for "
            r"the three blocks nearest to the output; write `unfreeze: all`\. Received: 1\.0$",
        ),
        (
            "unfreeze: all",
            "unfreeze: 0.4",
            r"write `unfreeze: \{last_blocks: 3\}`\. Received: 0\.4$",
        ),
        (
            "unfreeze: all",
            "unfreeze: 1 #",
            r"write `unfreeze: \{last_blocks: 1\}`, or `all` for the whole .*Received: 1$",
        ),
        ("unfreeze: all", "unfreeze: 0", r"write `unfreeze: none`\. Received: 0$"),
        (
            "unfreeze: all",
            "unfreeze: {last_blocks: 8}",
            r"compact has 7 blocks; write `unfreeze: all`, or at most 7\. Received: last_blocks: 8",
        ),
        (
            "unfreeze: all",
            "unfreeze: {last_blocks: 0}",
            r"yaml: train\.finetune\.unfreeze\.last_blocks should be greater than or equal to 1\. "
            r"Received: 0$",
        ),
        (
            "unfreeze: all",
            "unfreeze: 3",
            r"or \{last_blocks: 3\}; write `unfreeze: \{last_blocks: 3\}`\. Received: 3$",
        ),
        (
            "unfreeze: all",
            "unfreeze: .inf",
            r"yaml: train\.finetune\.unfreeze should be none, all, or .*Received: inf$",
        ),
        (
            "    soup: 0",
            "    soups: 0",
            r"train\.average\.soups is not a known key; write soup\. R",
        ),
        (
            "    rotate:",
            "    rotates:",
            r"augmentation\.rotates is not a known key; write rotate",
        ),
        (
            "  strategy: none",
            "  strategy: smote",
            r"yaml: balance\.strategy: smote makes features for the phase `head`, which is left "
            r"out; write oversample, .*Received: train\.head\.epochs: 60, model\.weights: none$",
        ),
        (
            "    model.dropout:",
            "    model.views: {choices: [plain, mirrored]}\n    model.dropout:",
            r"search\.space: no trial averages views, .*Received: model\.views$",
        ),
        (
            "    model.dropout:",
            "    model.hidden: {choices: [64, 128]}\n    model.dropout:",
            r"search\.space: a search tries single values, .*Received: model\.hidden$",
        ),
        (
            "    model.dropout:",
            "    train.finetune.unfreeze.last_blocks: {choices: [2, 3]}\n    model.dropout:",
            r"search\.space: train\.finetune\.unfreeze has another form in params\.yaml, .*'all'$",
        ),
        (
            "schedule: cosine",
            "schedule: linear",
            r"finetune\.schedule should be 'cosine', 'one_cycle'",
        ),
        ("optimizer: adamw", "optimizer: adam", r"train\.optimizer should be 'adamw', 'sgd'"),
        ("warmup: 0.1", "warmup: 1.0", r"finetune\.warmup should be less than 1\. Received: 1\.0"),
        ("layer_decay: 1.0", "layer_decay: 0.0", r"layer_decay should be greater than 0\. Rec"),
        ("monitor: val_loss", "monitor: loss", r"early_stopping\.monitor should be 'val_loss'"),
        ("threads: 4", "threads: 0", r"train\.threads should be greater than or equal to 1"),
        ("primary: accuracy", "primary: f1", r"register\.primary should be 'accuracy', .*'f1'"),
        (TEXT, "- a list", r"must have sections"),
    ],
)
def test_a_broken_rule_is_named(old, new, message, tmp_path):
    assert old in TEXT
    (tmp_path / "params.yaml").write_text(TEXT.replace(old, new))
    with pytest.raises(UserError, match=message):
        read_params(tmp_path / "params.yaml")


def test_logits_are_not_adjusted_twice(tmp_path):
    text = TEXT.replace("logit_adjustment: none", "logit_adjustment: tuned")
    (tmp_path / "params.yaml").write_text(text)
    read_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text(text.replace("loss: cross_", "loss: logit_adjusted # "))
    with pytest.raises(UserError, match=r"adjust them once more: write `logit_adjustment: none`"):
        read_params(tmp_path / "params.yaml")


UNADJUSTED = TEXT.replace("logit_adjustment: tuned", "logit_adjustment: none")


def test_a_loss_by_costs_needs_costs_also_if_only_a_trial_has_it(tmp_path):
    text = UNADJUSTED.replace("loss: cross_entropy", "loss: cost_sensitive")
    space = "  space:\n    train.loss: {choices: [cross_entropy, cost_sensitive]}\n"
    head, _, tail = UNADJUSTED.partition("  space:")
    for written, place in ((text, ""), (head + space + tail.partition("\n")[2], "search.space: ")):
        (tmp_path / "params.yaml").write_text(written)
        with pytest.raises(UserError, match=f"yaml: {place}train.loss: cost_sensitive needs costs"):
            read_params(tmp_path / "params.yaml")
        (tmp_path / "params.yaml").write_text(written.replace("costs: {}", "costs: {3: {8: 5}}"))
        assert read_params(tmp_path / "params.yaml").balance.costs == {"3": {"8": 5}}


def test_an_adjustment_must_not_undo_what_costs_change(tmp_path):
    text = TEXT.replace("loss: cross_", "loss: cost_sensitive # ")
    (tmp_path / "params.yaml").write_text(text.replace("costs: {}", "costs: {3: {8: 5}}"))
    with pytest.raises(UserError, match=r"would move them back, .* write `logit_adjustment: none`"):
        read_params(tmp_path / "params.yaml")


def test_the_one_seed_of_an_older_card_is_answered_with_the_two_keys_and_their_value(tmp_path):
    """One sentence, without the two keys that are missing because of it."""
    old = "seed: 7 # of all random numbers\n" + TEXT.replace("  seed: 1 #", "  #")
    (tmp_path / "params.yaml").write_text(old)
    with pytest.raises(UserError) as error:
        read_params(tmp_path / "params.yaml")
    assert str(error.value).endswith(
        "params.yaml: `seed` is now `split.seed` and `train.seed`: remove the line `seed: 7`, and "
        "write `seed: 7` below `split:` and below `train:`; splits and models stay the same. "
        "Received: seed: 7"
    )


def test_only_one_average_at_a_time(tmp_path):
    both = TEXT.replace("ema: 0.0", "ema: 0.9").replace("soup: 0", "soup: 3")
    (tmp_path / "params.yaml").write_text(both)
    message = r"train\.average: choose one average: write `ema: 0\.0` or `soup: 0`\. Received: "
    with pytest.raises(UserError, match=message):
        read_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "rate: 0.003",
            "rate: '1e-3'",
            "rate should be a number; write 1e-3 without quotes",
        ),
        ("rate: 0.003", "rate: 0,003", "should be a number; write 0.003 without quotes"),
        ("rate: 0.003", "rate: fast", "write a number, such as 10, 0.001 or 1.0e-3"),
        ("epochs: 60", "epochs: 60.0", "train.head.epochs should be a valid integer; write 60. "),
        ("turned: false", "turned: no", "turned should be true or false; write false. "),
        (
            "name: digits",
            "name: 2026",
            "name should be a text; write it in quotes, because",
        ),
        (
            "labels: any",
            "labels: [a, 1]",
            "labels, entry 2, should be a text; write it in quotes, because",
        ),
        ("labels: any", "labels: []", "labels should be 'any' or have at least one value. Rec"),
        ("labels: any", "labels: all", "labels should be 'any' or a list. Received: 'all'"),
        ("low: 0.0005", "low: '1e-5'", "learning_rate.low should be a number; write 1e-5 without"),
        (
            "[0.0, 0.2, 0.4]",
            "[null]",
            "choices, entry 1, should be a text or a number or true or false. ",
        ),
        ("{choices: [0.0, 0.2, 0.4]}", "5", "model.dropout should be {low: 0.1, high: 0.5, log:"),
        (
            "high: 0.01, log",
            "log",
            "learning_rate.high and search.space.train.weight_decay.high are missing; write them ",
        ),
        ("    - 255\n", "    - 255\n    - 255\n", "background should have at most 3 values"),
        ("name: digits", "name: a b", "register.name: use letters, digits, "),
    ],
)
def test_a_value_of_another_type_is_answered_with_what_to_write(old, new, message, tmp_path):
    assert old in TEXT
    (tmp_path / "params.yaml").write_text(TEXT.replace(old, new))
    with pytest.raises(UserError) as refused:
        read_params(tmp_path / "params.yaml")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("view", "sixteen_bit should be high_byte, stretch, refuse or { window: { low: 0, high"),
        ("16", "sixteen_bit should be high_byte, stretch, refuse or { window: { low: 0, high"),
        ("{ low: 0, high: 4095 }", "sixteen_bit should be high_byte, stretch, refuse or { window:"),
        ("{ window: { low: 9, high: 9 } }", "sixteen_bit.window: low must be below high"),
        ("{ window: { low: 9 } }", "sixteen_bit.window.high is missing"),
        ("{ window: { low: 9, high: 70000 } }", "sixteen_bit.window.high should be less than"),
    ],
)
def test_a_rule_for_16_bits_is_a_word_or_a_window(value, message, tmp_path):
    text = DIGITS.read_text()
    assert text.count("sixteen_bit: high_byte") == 1
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("sixteen_bit: high_byte", f"sixteen_bit: {value}"))
    with pytest.raises(UserError, match=re.escape(f"ingest.decode.{message}")):
        read_params(path)


def values_inside(tree, place=()):
    """Yield the place of every section and value."""
    for key, inner in tree.items():
        yield (*place, key)
        if isinstance(inner, dict):
            yield from values_inside(inner, (*place, key))


@pytest.mark.parametrize("wrong", [None, "ä", "", (), ("x", 1), {}, {"a": 1}, True, -0.5, date.max])
def test_no_message_has_the_words_of_the_library_that_checks_the_types(wrong):
    tree = with_tuples(yaml_text.parse(TEXT, DIGITS))
    for *place, last in values_inside(tree):
        changed = copy.deepcopy(tree)
        above = reduce(getitem, place, changed)
        above[last] = wrong
        try:
            Params.model_validate(changed)
        except ValidationError as error:
            rules = broken_rules(error, changed, Params)
        else:
            continue
        words = re.compile(
            r"Input|String|Tuple|tuple|dictionary|instance|literal\[|range\.|valid str"
        )
        assert not words.search("; ".join(rules)), rules
        assert len({rule.split(" ")[0] for rule in rules}) == len(rules)
        assert all(last in rule or rule.startswith("search.space: ") for rule in rules), rules


@pytest.mark.parametrize(
    "text",
    ["1e-05", "1e-3", "1.e5", "yes", "off", "017", "0o17", "0x1f", "1_000", "1:30", "'1'", "~"],
)
def test_a_text_is_read_as_dvc_reads_it(text):
    from dvc.utils.serialize import parse_yaml

    ours = yaml_text.parse(f"key: {text}", DIGITS)
    assert repr(ours) == repr(parse_yaml(f"key: {text}", DIGITS))


@pytest.mark.parametrize("rate", ["1e-3", "1.0e-3", "1E-3", "0.001"])
def test_a_number_with_an_exponent_is_a_number(rate, tmp_path):
    (tmp_path / "params.yaml").write_text(TEXT.replace("rate: 0.003", f"rate: {rate}"))
    assert read_params(tmp_path / "params.yaml").train.head.learning_rate == 0.001


def test_rules_about_several_values_are_checked_for_values_that_are_tried_together(tmp_path):
    old = "    model.dropout:"
    more = (
        "    model.weights: {choices: [imagenet, data/weights/a.keras]}\n"
        "    train.finetune.epochs: {choices: [0, 9]}\n"
    )
    (tmp_path / "params.yaml").write_text(TEXT.replace(old, more + old))
    assert read_params(tmp_path / "params.yaml").search.space["train.finetune.epochs"]


def test_yes_and_no_are_labels(tmp_path):
    (tmp_path / "params.yaml").write_text(TEXT.replace("labels: any", "labels: [yes, no]"))
    params = read_params(tmp_path / "params.yaml")
    assert params.validate_.label_known.labels == ("yes", "no")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  val: 0.15\n", "  val: 0.15\n  val: 0.5\n", r"key `val` .* {0} and {1}; remove one of "),
        ("labels: any", "labels: any, labels: []", r"Received: labels: any and labels: …$"),
        (
            "  seed: 1 ",
            "  seed: 1\n  seed: 1 ",
            r"the key `seed` twice, in lines \d+ and \d+; remove",
        ),
        (
            TEXT,
            "a: [{b: 1}, {c: 1, c: 2}]",
            r"`c` twice, in lines 1 and 1; .* c: 1 and c: 2$",
        ),
        (TEXT, "? [a]\n: 1\n? [a]\n: 2", r"a key twice; remove one of them"),
    ],
)
def test_a_key_that_is_written_twice_is_refused_with_both_lines(old, new, message, tmp_path):
    assert old in TEXT
    (tmp_path / "params.yaml").write_text(TEXT.replace(old, new))
    line = TEXT[: TEXT.index(old)].count("\n") + 1
    with pytest.raises(UserError, match=message.replace("{0} and {1}", f"{line} and {line + 1}")):
        read_params(tmp_path / "params.yaml")


SHA256 = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "weights",
    [
        "none",
        "imagenet",
        "data/weights/a.keras",
        "data/weights/old/v 1.keras",
        "models:/birds/3",
        f"models:/birds/12#sha256={SHA256}",
    ],
)
def test_weights_that_cannot_move_are_taken(weights, tmp_path):
    (tmp_path / "params.yaml").write_text(TEXT.replace("weights: none", f"weights: {weights}"))
    assert read_params(tmp_path / "params.yaml").model.weights == weights


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("models:/birds@champion", r"an alias can point.*`fovea retrain --from champion` writes"),
        ("old.keras", r"must be below data/weights.*write data/weights/NAME\.keras"),
        ("/tmp/data/weights/old.keras", r"must be below data/weights"),
        ("data/weights/../old.keras", r"must be below data/weights"),
        ("data/weights/.hidden.keras", r"must be below data/weights"),
        ("data/weights\\old.keras", r"must be below data/weights"),
        ("data/weights/old.h5", r"should be imagenet, none, data/weights/NAME\.keras, or models:"),
        ("models:/birds", r"should be imagenet, none, data/weights/NAME\.keras, or models:"),
        ("models:/../1", r"or models:/NAME/3#sha256=<64 digits, 0-9 and a-f>"),
        ("models:/birds/0", r"or models:/NAME/3#sha256=<64 digits, 0-9 and a-f>"),
        (
            f"models:/birds/3#sha256={SHA256[1:]}",
            r"or models:/NAME/3#sha256=<64 digits, 0-9 and a-f>",
        ),
    ],
)
@pytest.mark.parametrize("key", ["model.weights", "search.space", "validate.label_errors.weights"])
def test_weights_that_may_move_are_answered_with_the_way_to_write_them(
    key, weights, message, tmp_path
):
    old, new = {
        "model.weights": ("weights: none", f"weights: {weights}"),
        "search.space": ("    model.dropout:", "    model.weights: { choices: [none, "
                         f"'{weights}'] }}\n    model.dropout:"),
        "validate.label_errors.weights": ("weights: imagenet\n", f"weights: '{weights}'\n"),
    }[key]  # fmt: skip
    assert old in TEXT
    (tmp_path / "params.yaml").write_text(TEXT.replace(old, new))
    with pytest.raises(UserError, match=message) as refused:
        read_params(tmp_path / "params.yaml")
    assert f"{key}" in str(refused.value)
    assert str(refused.value).endswith(f"Received: {weights!r}")


def test_label_errors_are_not_looked_for_with_random_weights(tmp_path):
    old = "backbone: none\n    width: 0.35\n    weights: imagenet"
    new = "backbone: mobilenet_v2\n    width: 0.35\n    weights: none"
    assert old in TEXT
    (tmp_path / "params.yaml").write_text(TEXT.replace(old, new))
    with pytest.raises(UserError, match=r"validate\.label_errors: weights must not be none"):
        read_params(tmp_path / "params.yaml")


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(UserError, match="run from the repository's root"):
        read_params(tmp_path / "params.yaml")


def test_several_mistakes_are_reported_at_once(tmp_path):
    text = TEXT.replace("dropout: 0.2", "dropout: 2").replace("batch_size: 32", "batch_size: 0")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"model\.dropout.*; train\.batch_size"):
        read_params(tmp_path / "params.yaml")


def test_params_cannot_be_changed(params):
    with pytest.raises(ValueError, match="frozen"):
        params.model.dropout = 0.5


def test_overrides_reach_nested_values(params):
    written = Hyperparameters(model=params.model, train=params.train)
    changed = written.with_overrides({"train.head.epochs": 3, "model.width": 2.0})
    assert (changed.train.head.epochs, changed.model.width) == (3, 2.0)
    assert written.train.head.epochs == params.train.head.epochs


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("strong", "train.augmentation should be a policy ('none', 'light', 'medium', 'heavy', "
         "'randaugment' or 'trivialaugment'), a list of transforms, or ranges such as `rotate: 10` "
         "(docs/recipes-augmentation.md). Received: 'strong'"),
        (True, "train.augmentation should be a policy ('none', "),
        (None, "train.augmentation should be a policy ('none', "),
        (({"HorizontalFlip": {}}, {"Blur": 3}), "train.augmentation: each entry of the list must "
         "be a transform with its arguments, such as `- HorizontalFlip: {p: 0.5}`. "
         "Received: {Blur: 3}"),
        ({"rotate": 200}, "train.augmentation.rotate should be less than or equal to 180. "
         "Received: 200"),
        (3, "train.augmentation should be a policy ('none', "),
    ],
)  # fmt: skip
def test_an_augmentation_that_has_no_known_form_is_refused(params, value, message):
    written = Hyperparameters(model=params.model, train=params.train)
    if isinstance(value, dict):
        value = params.train.augmentation.model_dump() | value
    with pytest.raises(UserError) as raised:
        written.with_overrides({"train.augmentation": value})
    assert str(raised.value).startswith(message)


def test_a_search_may_choose_among_policies(params):
    written = Hyperparameters(model=params.model, train=params.train)
    light = written.with_overrides({"train.augmentation": "light"})
    assert (light.train.augmentation, light.value("train.augmentation")) == ("light", "light")
    transforms = ({"HorizontalFlip": {"p": 0.5}}, "Transpose")
    listed = light.with_overrides({"train.augmentation": transforms})
    assert listed.with_overrides({"train.seed": 3}).train.augmentation == transforms


def test_mixing_needs_epochs_in_which_images_are_mixed(params):
    written = Hyperparameters(model=params.model, train=params.train)
    head_only = {"model.weights": "imagenet", "train.finetune.epochs": 0}
    assert written.with_overrides(head_only).train.mixup == 0
    with pytest.raises(UserError, match=r"mix images in the phase `finetune` only, .*cutmix 1\.0$"):
        written.with_overrides({**head_only, "train.cutmix": 1.0})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"train.mixup": 0.2, "train.mix_until": 0.0},
            r"^train\.mix_until: images would be mixed in no .*Received: 0\.0 of \d+ epochs$",
        ),
        (
            {"train.mixup": 0.2, "train.finetune.epochs": 32, "train.mix_until": 0.01},
            r"^train\.mix_until: images would be mixed in no epoch; .*0\.01 of 32 epochs$",
        ),
        (
            {"train.cutmix": 1.0, "train.batch_size": 1},
            r"^train\.batch_size: .* mix the images of a batch, which has only one; .*cutmix 1\.0$",
        ),
        (
            {"model.hidden": (), "model.batch_norm": True},
            r"^model\.batch_norm normalises the hidden layers, .* batch_norm: true, hidden: \[\]$",
        ),
        (
            {"model.weights": "imagenet", "train.finetune.epochs": 0, "train.average.soup": 3},
            r"^train\.average\.soup averages epochs of the phase `finetune`.*Received: soup: 3$",
        ),
        (
            {"train.finetune.unfreeze": "none", "train.finetune.stages": 3},
            r"^train\.finetune\.stages: with `unfreeze: none`, no block .*Received: 3$",
        ),
        (
            {"train.finetune.unfreeze": "none", "train.finetune.layer_decay": 0.5},
            r"^train\.finetune\.layer_decay: with `unfreeze: none`, no block .*Received: 0\.5$",
        ),
        (
            {"train.finetune.unfreeze": {"last_blocks": 2}, "train.finetune.stages": 3},
            r"^train\.finetune\.stages: .* names 2; write at most `stages: 2`\. Received: 3$",
        ),
        (
            {"model.backbone": "compact", "train.finetune.stages": 8},
            r"^train\.finetune\.stages: .* names 7; write at most `stages: 7`\. Received: 8$",
        ),
        (
            {"train.head.epochs": 0, "train.head.views": 5},
            r"^train\.head\.views are images for the phase `head`, .*Received: views: 5$",
        ),
    ],
)
def test_what_would_have_no_effect_is_refused(params, overrides, message):
    written = Hyperparameters(model=params.model, train=params.train)
    *others, _ = overrides
    assert written.with_overrides({name: overrides[name] for name in others})
    with pytest.raises(UserError, match=message):
        written.with_overrides(overrides)


NO_CHANGE = dict.fromkeys(Augmentation.model_fields, 0.0)


@pytest.mark.parametrize("augmentation", ["none", [], NO_CHANGE], ids=str)
def test_augment_minority_needs_random_changes(augmentation, tmp_path):
    tree = yaml_text.parse(TEXT, DIGITS)
    tree["balance"]["strategy"] = "augment_minority"
    assert Params.model_validate(with_tuples(tree)).balance.strategy == "augment_minority"
    tree["train"]["augmentation"] = augmentation
    with pytest.raises(ValidationError, match="augment_minority repeats the random changes of"):
        Params.model_validate(with_tuples(tree))


def test_smote_is_accepted_if_every_trial_has_a_phase_for_it(tmp_path):
    text = TEXT.replace("  strategy: none", "  strategy: smote")
    text = text.replace("weights: none\n  pooling", "weights: imagenet\n  pooling")
    (tmp_path / "params.yaml").write_text(text)
    assert read_params(tmp_path / "params.yaml").balance.strategy == "smote"
    space = "    train.head.epochs: {low: 0, high: 9, log: false}\n    model.dropout:"
    (tmp_path / "params.yaml").write_text(text.replace("    model.dropout:", space))
    with pytest.raises(UserError, match=r"search\.space: balance\.strategy: smote .*epochs: 0, "):
        read_params(tmp_path / "params.yaml")


def test_a_search_of_a_form_that_params_yaml_does_not_have_is_one_sentence(params):
    written = Hyperparameters(model=params.model, train=params.train)
    light = written.with_overrides({"train.augmentation": "light"})
    with pytest.raises(UserError, match=r"^train\.augmentation has another form .*: 'light'$"):
        light.with_overrides({"train.augmentation.rotate": 3})
    blocks = written.model_copy(
        update={
            "train": params.train.model_copy(
                update={
                    "finetune": params.train.finetune.model_copy(
                        update={"unfreeze": LastBlocks(last_blocks=3)}
                    )
                }
            )
        }
    )
    with pytest.raises(UserError, match=r"^train\.finetune\.unfreeze .*\{last_blocks: 3\}$"):
        blocks.with_overrides({"train.finetune.unfreeze": "all"})
    assert blocks.with_overrides({"train.finetune.unfreeze.last_blocks": 2})


@pytest.mark.parametrize("name", ["train.head", "train", "model.nothing", "train.loss.deeper"])
def test_an_override_of_what_is_no_value_is_refused(params, name):
    written = Hyperparameters(model=params.model, train=params.train)
    with pytest.raises(UserError, match="only values of model and train"):
        written.with_overrides({name: 1})
