"""What pydantic says of broken rules → sentences that name key, rule and what was received."""

from pydantic import ValidationError


def broken_rules(error: ValidationError) -> list[str]:
    """Say each broken rule once: key, rule, what was received."""
    sentences: dict[str, str] = {}
    for item in error.errors():
        keys = [str(key) for key in item["loc"]]
        if keys[:2] == ["search", "space"]:
            del keys[3:4]  # which of the two kinds, which stands nowhere in the file
        elif "labels" in keys:
            del keys[keys.index("labels") + 1 :]  # which member of a union
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
