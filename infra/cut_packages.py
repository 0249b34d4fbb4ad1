"""requirements.lock → pipelines/packages/<group>.txt: packages that can change results of stages.

A group is a set of packages that several stages use. dvc.yaml lists the file of a group in the deps
of these stages. So DVC runs the stages again if the version of a package in the group changes. A
new version of another package, such as the linter, does not make DVC run a stage again.
`make lock` runs this file. A test compares pipelines/packages/ with requirements.lock.
"""

from pathlib import Path

from pipelines.installed import ENTRY

ROOT = Path(__file__).parents[1]

# Group → package → what the package can change in the files that a stage writes. The comment above
# a group names the stages that use the group.
GROUPS: dict[str, dict[str, str]] = {
    # ingest, validate, split, prepare, balance, register
    "data": {
        "cleanlab": "which labels are listed as possible errors",
        "great-expectations": "the validation report and Data Docs",
        "jinja2": "the HTML pages",
        "markupsafe": "how text is escaped in the HTML pages",
        "mistune": "Markdown in Data Docs",
        "numpy": "all arithmetic, and the format of .npy",
        "opencv-python-headless": "measured properties and fingerprints of images, resizing",
        "pandas": "tables: sorting, grouping, types",
        "pillow": "decoded pixels",
        "pyarrow": "the bytes of Parquet and CSV files",
        "scikit-learn": "folds, naive Bayes and AUC; the digits of the demo",
        "scipy": "which images form a set of copies, statistics",
        "simplejpeg": "decoded pixels of JPEG files, and thumbnails",
    },
    # search, train
    "training": {
        "albucore": "the arithmetic of albumentations",
        "albumentations": "augmented pixels",
        "contourpy": "contours in plots of the study",
        "h5py": "weights inside a .keras file",
        "jax": "all arithmetic of the network with KERAS_BACKEND=jax",
        "jaxlib": "all arithmetic of the network with KERAS_BACKEND=jax",
        "imbalanced-learn": "new features of small classes, for balance.strategy: smote",
        "keras": "initial weights, layers, optimizers, the .keras file",
        "matplotlib": "plots of the study",
        "ml-dtypes": "rounding to small floats",
        "numpy": "all arithmetic, random numbers",
        "opencv-python-headless": "augmented pixels",
        "optree": "the order in which Keras flattens structures",
        "pandas": "tables: sorting, grouping, types",
        "pyarrow": "how tables are read",
        "pyyaml": "hyperparameters.yaml",
        "scikit-learn": "trees that measure the importance of hyperparameters; similar features",
        "scipy": "the temperature; geometry of augmented pixels",
        "simsimd": "sums inside albucore",
        "stringzilla": "lookup tables inside albucore",
        "tensorflow": "all arithmetic of the network",
    },
    # search
    "search": {
        "cmaes": "which hyperparameters the sampler CMA-ES tries",
        "jinja2": "the page of the search",
        "markupsafe": "how text is escaped in the page",
        "optuna": "which hyperparameters are tried, and their importances",
        "plotly": "the page of the search",
    },
    # evaluate, register, validate (it computes features of images to find wrong labels)
    "evaluation": {
        "h5py": "weights inside a .keras file",
        "jax": "all arithmetic of the network with KERAS_BACKEND=jax",
        "jaxlib": "all arithmetic of the network with KERAS_BACKEND=jax",
        "jinja2": "the report",
        "keras": "layers and how a .keras file is read",
        "markupsafe": "how text is escaped in the report",
        "ml-dtypes": "rounding to small floats",
        "numpy": "all arithmetic, random numbers of the bootstrap and of corruptions",
        "opencv-python-headless": "corrupted pixels, similarity of images",
        "optree": "the order in which Keras flattens structures",
        "pandas": "tables: sorting, grouping, types",
        "pillow": "pictures in the report",
        "pyarrow": "the bytes of Parquet files",
        "scikit-learn": "metrics and curves",
        "scipy": "statistics",
        "simplejpeg": "pictures in the report",
        "tensorflow": "all arithmetic of the network",
    },
}

# Package → what Fovea uses it for. Fovea imports these packages, but they are in no group, because
# they cannot change the files that a stage writes.
HARMLESS = {
    **dict.fromkeys(
        ("anyio", "fastapi", "prometheus-client", "starlette", "uvicorn"),
        "carries what a server answers; the answers are those of the network",
    ),
    "ai-edge-litert": "reads what `fovea export` writes, which is no out of a stage",
    "configobj": "reads DVC's config files",
    "fastapi": "answers requests of `fovea serve`, which is no stage",
    "fsspec": "copies files to the workers of a search, which check their sha256",
    "mlflow": "records runs, in a store that is not an out of a stage",
    "onnx": "reads what `fovea export` writes, which is no out of a stage",
    "onnxruntime": "reads what `fovea export` writes, which is no out of a stage",
    "packaging": "compares versions",
    "platformdirs": "finds the folders of caches and config files",
    "prefect": "starts the stages, and does not change the files that they write",
    "prometheus-client": "counts what `fovea serve` does",
    "psutil": "looks at processes",
    "pydantic": "checks params; the values come from params.yaml",
    "rich": "prints to the terminal",
    "ruamel-yaml": "reads params.yaml; the values come from params.yaml",
    "ruamel-yaml-clib": "the parser in C of ruamel-yaml",
    "sqlalchemy": "stores the trials of a search, and reads what it stored",
    "starlette": "answers requests of `fovea serve`, which is no stage",
    "threadpoolctl": "limits the number of threads",
    "typer": "reads the command line",
    "uvicorn": "answers requests of `fovea serve`, which is no stage",
}


def cut(lock: str, names: list[str]) -> str:
    """Return the sorted lines `name==version` or `name==version ; marker` of the packages `names`.

    lock: the text of requirements.lock. names: the names of the packages.
    A marker is a condition, such as a version of Python. If requirements.lock has several versions
    of a package with different markers, the result has a line for each version.
    Raises SystemExit if requirements.lock does not have one of the packages.

    >>> cut("b==2 ; python_version < '3.12' \\\\\\n    --hash=…\\na==1 \\\\\\n", ["a", "b"])
    "a==1\\nb==2 ; python_version < '3.12'\\n"
    """
    lines = [
        f"{name}=={version}" + (f" ; {marker}" if marker else "")
        for name, version, marker in ENTRY.findall(lock)
        if name in names
    ]
    missing = sorted(set(names) - {line.partition("==")[0] for line in lines})
    if missing:
        raise SystemExit(
            "error: requirements.lock must have every package of GROUPS; correct GROUPS in "
            f"infra/cut_packages.py. Received: {missing}"
        )
    return "".join(f"{line}\n" for line in sorted(lines))


def main() -> None:
    """Write the file of each group, if the file is missing or does not have the right lines."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    for group, reasons in GROUPS.items():
        text = cut(lock, list(reasons))
        path = ROOT / f"pipelines/packages/{group}.txt"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
