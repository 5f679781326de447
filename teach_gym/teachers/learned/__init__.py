"""Teachers trained in torch by differentiating through the learner."""
