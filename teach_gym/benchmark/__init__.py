"""The benchmark: suites of runs, their execution, the teaching score and the report."""
