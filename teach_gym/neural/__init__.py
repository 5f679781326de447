"""Neural learners on images (torch, CPU and CUDA): networks, image pools, performative teaching, training."""
