"""A small MCP server on standard input and output, as the specification has it. Run as a program."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

TOOLS = ["update_lead", "unmapped"]


def main(log: Path) -> None:
    """Write each frame that comes into ``log``, and answer it."""

    def say(id_: Any, result: Any) -> None:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": id_, "result": result}) + "\n")
        sys.stdout.flush()

    for line in sys.stdin:  # universal newlines: a carriage return ends a line here, too
        with log.open("a") as kept:
            kept.write(line)
        message = json.loads(line)
        method, id_ = message.get("method"), message.get("id")
        if method == "initialize":
            said = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}}}
            say(id_, {**said, "serverInfo": {"name": "crm", "version": "1"}})
        elif method == "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
            say(id_, {"tools": tools, "_meta": {"env": sorted(os.environ)}})
        elif method == "tools/call":
            say(id_, {"content": [{"type": "text", "text": f"{message['params']['name']} done"}], "isError": False})
        elif id_ is not None and method is not None:
            say(id_, {})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
