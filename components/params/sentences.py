"""A ValidationError of pydantic → sentences with the key, the rule and the received value."""

from pydantic import ValidationError


def broken_rules(error: ValidationError) -> list[str]:
    """Return a sentence for each key of params.yaml that breaks a rule.

    If a key breaks several rules, its sentence is about the first of these rules.
    error: the error that pydantic raised when it checked params.yaml.
    """
    sentences: dict[str, str] = {}
    for item in error.errors():
        keys = [str(key) for key in item["loc"]]
        if keys[:2] == ["search", "space"]:
            # The fourth key is the tag `range` or `choices`, which pydantic adds. The tag is
            # removed, because it is no key of params.yaml.
            del keys[3:4]
        elif "labels" in keys:
            # After `labels` pydantic adds the type that it tried, and for a list also a position.
            # The type and the position are removed, because they are no keys of params.yaml.
            del keys[keys.index("labels") + 1 :]
        key = ".".join(keys) or "params"
        if item["type"] == "extra_forbidden":
            text = f"{key} is not a known key. Received: {item['input']!r}"
        elif item["type"] == "missing":
            text = f"{key} is missing; write it into params.yaml, because there are no defaults"
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
