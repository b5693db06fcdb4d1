"""`python -m tempering`, for launchers such as torchrun."""

from tempering.app.cli import main

if __name__ == "__main__":
    main()
