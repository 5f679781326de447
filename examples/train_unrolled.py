"""Train teachers by differentiating through the learner (DHT 3.3.1), save one, and use it like any other teacher.

Needs pip install 'teach_gym[torch]' and takes a few seconds.
"""

import teach_gym
from teach_gym.teachers.learned.fit import TrainingSettings
from teach_gym.teachers.learned.unrolled import train_unrolled

task = teach_gym.make_task("PerturbMoons")
trained = train_unrolled(  # three teachers at once: data transformations whose examples stay within the data's bounds
    [task], seeds=range(3), settings=TrainingSettings(iterations=100, learners=8, learning_rate=0.01), output="box"
)
path = trained.save("teachers")[0]

teachers = {"passive": teach_gym.make_teacher("passive"), "greedy": teach_gym.make_teacher("greedy")}
teachers |= {f"unrolled {seed}": trained.teacher(index) for index, seed in enumerate(trained.seeds)}
teachers["from a file"] = teach_gym.make_teacher("unrolled", path=path)
for name, teacher in teachers.items():
    found = teach_gym.evaluate(teacher, task, seeds=100)
    print(f"{name:<12} final distance {found.end:.3f}, score {found.score:.3f}")
