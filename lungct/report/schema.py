"""Print the JSON Schema of ``result.json``: ``python -m lungct.report.schema``."""

import json

from lungct.report.result import Result

if __name__ == "__main__":
    print(json.dumps(Result.model_json_schema(), indent=2))
