"""pydantic's list of broken rules → sentences with the key, the rule and what was received."""

from pydantic import ValidationError


def broken_rules(error: ValidationError) -> list[str]:
    """Return a sentence for each key that breaks a rule."""
    sentences: dict[str, str] = {}
    for item in error.errors():
        keys = [str(key) for key in item["loc"]]
        if keys[:2] == ["search", "space"]:
            # This key is pydantic's tag, `range` or `choices`. The file has no such key.
            del keys[3:4]
        elif "labels" in keys:
            # The key after `labels` is the type that pydantic tried. The file has no such key.
            del keys[keys.index("labels") + 1 :]
        key = ".".join(keys) or "params"
        if item["type"] == "extra_forbidden":
            text = f"{key} is not a known key. Received: {item['input']!r}"
        elif item["type"] == "missing":
            text = f"{key} is missing; every value must be written out"
        elif item["type"] == "value_error" and not keys:
            text = str(item["ctx"]["error"])
        else:
            rule = item["msg"].removeprefix("Value error, ").removeprefix("Input should ")
            received = "" if "Received:" in rule else f". Received: {item['input']!r}"
            text = (
                f"{key} should {rule}{received}"
                if rule[:3] == "be "
                else f"{key}: {rule}{received}"
            )
        sentences.setdefault(key, text)
    return list(sentences.values())
