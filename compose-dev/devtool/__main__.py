"""Entry point: `./dev` runs this folder with whatever Python it found."""

import sys
from pathlib import Path

# The folder itself is on the path when Python runs a folder; its modules are a package, so their parent has to be there instead.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from devtool.commands import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
