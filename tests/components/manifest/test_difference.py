import json

import pandas as pd
import pytest

from components.manifest.difference import Difference, difference

Row = tuple[str, str | None, str | None]


def manifest(*rows: Row) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["path", "label", "image_id"], dtype="object")


def kinds(changes: Difference) -> dict[str, list[str]]:
    """Kind of change → the paths in it, those without any left out."""
    return {kind: list(table["path"]) for kind, table in changes.tables.items() if len(table)}


CAT, DOG = ("cat/1.png", "cat", "a"), ("dog/1.png", "dog", "b")


def test_equal_manifests_have_no_difference_whatever_their_order() -> None:
    changes = difference(manifest(CAT, DOG), manifest(DOG, CAT))
    assert changes.is_empty
    assert changes.unchanged == 2


def test_added_and_removed_images_are_told_apart() -> None:
    changes = difference(manifest(CAT), manifest(DOG))
    assert kinds(changes) == {"added": ["dog/1.png"], "removed": ["cat/1.png"]}


def test_an_image_under_another_name_is_moved_not_new() -> None:
    changes = difference(manifest(CAT), manifest(("cat/2.png", "cat", "a")))
    assert kinds(changes) == {"moved": ["cat/2.png"]}
    assert changes.moved.to_dict("records") == [
        {"path": "cat/2.png", "label": "cat", "old_path": "cat/1.png", "old_label": "cat"}
    ]


def test_an_image_in_another_class_folder_is_relabelled() -> None:
    changes = difference(manifest(CAT), manifest(("dog/1.png", "dog", "a")))
    assert kinds(changes) == {"relabelled": ["dog/1.png"]}
    assert list(changes.relabelled["old_label"]) == ["cat"]


def test_a_table_that_gives_a_path_another_label_relabels_it() -> None:
    changes = difference(manifest(("1.png", "cat", "a")), manifest(("1.png", "dog", "a")))
    assert kinds(changes) == {"relabelled": ["1.png"]}


def test_other_bytes_at_the_same_path_are_a_change() -> None:
    changes = difference(manifest(CAT), manifest(("cat/1.png", "cat", "z")))
    assert kinds(changes) == {"changed": ["cat/1.png"]}


def test_two_images_that_swap_their_classes_are_both_relabelled() -> None:
    swapped = manifest(("cat/1.png", "cat", "b"), ("dog/1.png", "dog", "a"))
    changes = difference(manifest(CAT, DOG), swapped)
    assert kinds(changes) == {"relabelled": ["cat/1.png", "dog/1.png"]}


def test_content_that_moved_and_what_took_its_place_are_two_changes() -> None:
    new = manifest(("cat/1.png", "cat", "new"), ("cat/2.png", "cat", "a"))
    assert kinds(difference(manifest(CAT), new)) == {"added": ["cat/1.png"], "moved": ["cat/2.png"]}


def test_copies_are_counted_not_merged() -> None:
    three = manifest(*((f"cat/{n}.png", "cat", "a") for n in range(3)))
    two = manifest(("cat/0.png", "cat", "a"), ("cat/9.png", "cat", "a"))
    changes = difference(three, two)
    assert kinds(changes) == {"removed": ["cat/2.png"], "moved": ["cat/9.png"]}
    assert changes.unchanged == 1


def test_a_path_listed_twice_under_two_labels_is_compared_label_by_label() -> None:
    both = manifest(("1.png", "cat", "a"), ("1.png", "dog", "a"))
    changes = difference(both, manifest(("1.png", "dog", "a")))
    assert kinds(changes) == {"removed": ["1.png"]}
    assert list(changes.removed["label"]) == ["cat"]


def test_unreadable_files_are_never_taken_for_each_other() -> None:
    old = manifest(("cat/1.png", "cat", None), ("cat/2.png", "cat", None))
    new = manifest(("cat/1.png", "cat", None), ("cat/3.png", "cat", None))
    changes = difference(old, new)
    assert kinds(changes) == {"added": ["cat/3.png"], "removed": ["cat/2.png"]}
    assert changes.unchanged == 1


def test_a_file_that_was_unreadable_and_is_readable_now_has_changed() -> None:
    changes = difference(manifest(("cat/1.png", "cat", None)), manifest(CAT))
    assert kinds(changes) == {"changed": ["cat/1.png"]}


def test_classes_are_counted_before_and_after() -> None:
    old = manifest(CAT, DOG, ("cat/2.png", "cat", "c"), ("x.png", None, "d"))
    new = manifest(CAT, ("dog/1.png", "dog", "c"), ("owl/1.png", "owl", "e"))
    table = difference(old, new).per_class.set_index("label")
    assert list(table.index) == ["", "cat", "dog", "owl"]
    assert table.loc["cat"].to_dict() == {
        "before": 2,
        "after": 1,
        "added": 0,
        "removed": 0,
        "relabelled_to": 0,
        "relabelled_from": 1,
        "moved": 0,
        "changed": 0,
    }
    assert table.loc["dog", "relabelled_to"] == 1
    assert table.loc["owl", "added"] == 1
    assert table.loc["", "removed"] == 1
    flow = table["before"] + table["added"] - table["removed"]
    assert list(flow + table["relabelled_to"] - table["relabelled_from"]) == list(table["after"])


def test_every_row_is_in_exactly_one_kind_on_each_side() -> None:
    generator = pd.Series(range(500))
    old = manifest(*((f"{n % 7}/{n % 90}.png", str(n % 3), str(n % 40)) for n in generator))
    new = manifest(*((f"{n % 5}/{n % 80}.png", str(n % 4), str(n % 50)) for n in generator))
    changes = difference(old, new)
    pairs = changes.unchanged + sum(
        len(table) for table in (changes.moved, changes.relabelled, changes.changed)
    )
    assert pairs + len(changes.added) == len(new)
    assert pairs + len(changes.removed) == len(old)
    assert changes.unchanged > 0


def test_the_order_of_rows_changes_nothing() -> None:
    rows = [(f"{n % 7}/{n}.png", str(n % 3), str(n % 20)) for n in range(100)]
    old, new = manifest(*rows), manifest(*((path, label, id_) for path, id_, label in rows))
    shuffled = old.sample(frac=1, random_state=1), new.sample(frac=1, random_state=2)
    assert difference(*shuffled).tree() == difference(old, new).tree()


def test_older_manifests_need_no_other_columns_and_newer_ones_may_have_them() -> None:
    new = manifest(CAT).assign(brightness=0.5, fault=None)
    assert difference(manifest(CAT).astype("string"), new).is_empty


def test_the_tree_is_plain_json_with_the_first_examples() -> None:
    new = manifest(*((f"cat/{n}.png", "cat", str(n)) for n in range(9)))
    tree = difference(manifest(CAT), new).tree(examples=2)
    assert json.loads(json.dumps(tree)) == tree
    assert tree["added"]["images"] == 8
    assert [row["path"] for row in tree["added"]["examples"]] == ["cat/0.png", "cat/2.png"]
    assert tree["changed"]["examples"][0]["path"] == "cat/1.png"
    assert tree["per_class"][0]["after"] == 9


@pytest.mark.parametrize("empty_side", [0, 1])
def test_an_empty_manifest_is_compared_like_any_other(empty_side: int) -> None:
    sides = [manifest(CAT, DOG), manifest(CAT, DOG)]
    sides[empty_side] = manifest()
    changes = difference(*sides)
    assert list(kinds(changes).values()) == [["cat/1.png", "dog/1.png"]]
