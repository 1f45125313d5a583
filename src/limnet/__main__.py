"""`python -m limnet` is `limnet`."""

from limnet.cli import main

raise SystemExit(main())
