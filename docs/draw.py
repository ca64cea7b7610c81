"""A training's answer as a picture of a terminal: `recsys train 2>/dev/null | python docs/draw.py > docs/table.svg`."""

import io
import re
import sys
import textwrap

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

WIDTH = 118

lines = sys.stdin.read().strip().partition("\nrun: ")[0].splitlines()
console = Console(record=True, width=WIDTH, file=io.StringIO())
console.print(Text("$ recsys train", style="bold"))
for line in lines:
    style = "bold" if " does " in line or " beats " in line else ""
    for part in textwrap.wrap(line, WIDTH) if len(line) > WIDTH else [line]:
        console.print(Text(part, style=style))
picture = console.export_svg(title="recsys train", theme=MONOKAI)
sys.stdout.write(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL))  # which browsers would fetch elsewhere
