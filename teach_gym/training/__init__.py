"""Training of agents: the programs behind ``teach-gym train``, their hyper-parameters, and sweeps over settings."""
