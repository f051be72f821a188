"""Statistics in pure Python: numbers in, numbers out. Each formula's source stands in its docstring, and each is tested
against scipy or statsmodels; neither is needed to run."""
