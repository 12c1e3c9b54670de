"""What a deployment consists of, as CycloneDX JSON on standard output: ``python .ci/sbom.py > dist/sbom.json``.

Read from the installed packages' own metadata, so it needs no network and no further tool: name, version, licence and
who needs whom, for the package with its Dagster extra. It holds no time and no random number: equal environments have
equal files.
"""

import importlib.metadata as metadata
import json
import re
import sys
from collections.abc import Mapping, Sequence

from packaging.requirements import Requirement

PACKAGE, EXTRAS = "openpanel-userpilot-connector", ("", "dagster")


def folded(name: str) -> str:
    """A package's name as every index writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(distribution: metadata.Distribution) -> str:
    """Its licence: the expression, else the classifiers, else the first line of the free text."""
    found = distribution.metadata
    classifiers = [line for line in found.get_all("Classifier", []) if line.startswith("License :: ")]
    named = "; ".join(line.split(" :: ")[-1] for line in classifiers)
    return str(found.get("License-Expression") or named or (found.get("License") or "unknown").splitlines()[0])


def installed(name: str = PACKAGE, extras: Sequence[str] = EXTRAS) -> Mapping[str, list[str]]:
    """Every package that is needed at run time, and what it needs itself.

    Raises:
        PackageNotFoundError: something that is needed is not installed.
    """
    needs: dict[str, list[str]] = {}
    left = [(name, tuple(extras))]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while left:
        one, wanted = left.pop()
        if (one, wanted) in seen:
            continue
        seen.add((one, wanted))
        found = needs.setdefault(folded(one), [])
        for line in metadata.distribution(one).requires or []:
            needed = Requirement(line)
            if needed.marker and not any(needed.marker.evaluate({"extra": extra}) for extra in wanted or ("",)):
                continue
            if folded(needed.name) not in found:
                found.append(folded(needed.name))
            left.append((needed.name, ("", *sorted(needed.extras))))
    return needs


def sbom() -> dict[str, object]:
    """The bill of materials."""
    needs = installed()
    parts = {name: metadata.distribution(name) for name in sorted(needs)}
    reference = {name: f"pkg:pypi/{name}@{part.version}" for name, part in parts.items()}

    def component(name: str) -> dict[str, object]:
        part = parts[name]
        return {
            "type": "application" if name == PACKAGE else "library",
            "bom-ref": reference[name],
            "name": name,
            "version": part.version,
            "purl": reference[name],
            "licenses": [{"license": {"name": licence(part)}}],
        }

    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component(PACKAGE)},
        "components": [component(name) for name in parts if name != PACKAGE],
        "dependencies": [
            {"ref": reference[name], "dependsOn": sorted(reference[one] for one in needs[name])} for name in parts
        ],
    }


if __name__ == "__main__":
    json.dump(sbom(), sys.stdout, indent=1)
    sys.stdout.write("\n")
