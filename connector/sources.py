"""``python -m connector.sources FOLDER [INSTANCE]``: the dbt sources, written by ``catalogue/dbt_sources.py``."""

import sys

from connector.catalogue.dbt_sources import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
