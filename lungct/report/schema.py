"""Print the JSON Schema of ``result.json``: ``python -m lungct.report.schema``."""

import json
from typing import Any

from lungct.report.result import SCHEMA_VERSION, Result


def make_result_schema() -> dict[str, Any]:
    """The schema with its dialect and a name that changes with its version."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:lungct:result:{SCHEMA_VERSION}",
        **Result.model_json_schema(),
    }


if __name__ == "__main__":
    print(json.dumps(make_result_schema(), indent=2))
