"""Teachers in numpy: greedy and closed-form oracles, baselines."""
