"""`temper` in a process of its own, with certificates that cost as little as in the tests'."""

import sys

from tempering.app.cli import main
from tempering.evaluation import certificate_prices

certificate_prices.IN_ANY_CASE = certificate_prices.SHARE = 0.0

if __name__ == "__main__":
    sys.argv[0] = "temper"
    main()
