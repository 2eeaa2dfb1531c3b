.PHONY: setup demo test check bench
