"""The commands that teach: ``render`` shows one episode, ``reproduce`` runs the experiments of the papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from teach_gym.cli.output import DataDir, say, set_data_dir, table
from teach_gym.messages import show


def render(
    task: Positional[str],
    teachers: Positional[tuple[str, ...]] = ("greedy",),
    /,
    *,
    seed: tuple[int, ...] = (0,),
    out: Path | None = None,
    steps: int | None = None,
    fps: float = 10.0,
    size: tuple[int, int] = (640, 360),
    data_dir: DataDir = None,
) -> int:
    """Show teachers at work: a moving picture, a video, its last frame, or an HTML page that plays the lessons.

    Args:
        task: A task, as LabelMoons or LabelMoons:budget=100.
        teachers: Teachers, as greedy or last:constraint=soft; only a page shows several.
        seed: Seeds of the episodes; only a page shows several.
        out: The file, .gif, .webp, .mp4, .png or .html (default: TASK-TEACHER.gif for one lesson, else TASK.html).
        steps: Stop after so many steps.
        fps: Frames a second.
        size: Width and height of the frames.
        data_dir: Data folder.
    """
    from teach_gym.benchmark.suite import cached_task, evaluation_seeds, task_spec
    from teach_gym.benchmark.summary import display
    from teach_gym.render.film import checked_size
    from teach_gym.render.frame import animate, check_animation, save_animation
    from teach_gym.render.player import record, scene, write_player
    from teach_gym.teachers import lesson, make_teacher

    set_data_dir(data_dir)
    label, spec = task_spec(task)
    built, short = cached_task(spec), label.partition(":")[0]
    chosen, seed = [make_teacher(text) for text in teachers], evaluation_seeds(seed)
    single = len(chosen) == len(seed) == 1
    path = Path(f"{short}-{chosen[0].name}.gif" if single else f"{short}.html") if out is None else out

    def taught(index: int, number: int) -> Any:
        return lesson(built, chosen[index], [number], steps=steps)

    if path.suffix.lower() == ".html":
        lessons = {s: [record(built, display(text), *taught(i, s)) for i, text in enumerate(teachers)] for s in seed}
        write_player(path, [(scene(built, label), lessons)])
        show(f"{len(teachers) * len(seed)} lessons: {path.resolve()}")
        return 0
    if not single:
        raise ValueError(
            f"a {path.suffix} shows one teacher and one seed, got {len(chosen)} and {len(seed)}; use --out FILE.html"
        )
    check_animation(path)
    frames = animate(built, *taught(0, seed[0]), name=short, teacher=display(teachers[0]), size=checked_size(size))
    save_animation(frames, path, fps)
    show(f"{len(frames)} frames: {path.resolve()}")
    return 0


def play(
    task: Positional[str] = "LabelMoons",
    /,
    *,
    seed: int = 0,
    out: Path | None = None,
    port: int = 0,
    browser: bool = True,
    data_dir: DataDir = None,
) -> int:
    """Be the teacher yourself: a page, served on this machine only, in which you choose what a learner is shown.

    Args:
        task: A registered task.
        seed: Seed of the first episode.
        out: Folder to which finished games are written (default: nothing is written).
        port: Port of the page (default: a free one).
        browser: Open the page in a browser.
        data_dir: Data folder.
    """
    import webbrowser

    from teach_gym.play.server import Playground

    set_data_dir(data_dir)
    with Playground(task, seed, out, port) as server:
        show(f"open {server.url} (Ctrl-C ends it)", flush=True)
        if browser:
            webbrowser.open(server.url)
        server.serve_forever()
    return 0


def record(
    task: Positional[str],
    teacher: Positional[str] = "greedy",
    /,
    *,
    episodes: int = 100,
    seed: int = 0,
    name: str | None = None,
    out: Path | None = None,
    data_dir: DataDir = None,
) -> int:
    """Record a teacher's episodes as a Minari data set, for offline reinforcement learning.

    Args:
        task: A task, as LabelMoons or LabelMoons:continuous=True.
        teacher: A teacher, as greedy or imt; its examples become the nearest actions.
        episodes: Number of episodes.
        seed: Seed of the first episode; the others follow.
        name: The data set's id (default: teach_gym/TASK-TEACHER-v0).
        out: Folder of Minari's data sets (default: Minari's own).
        data_dir: Data folder.
    """
    import gymnasium as gym

    from teach_gym.benchmark.suite import task_spec
    from teach_gym.calls import parse_call
    from teach_gym.integrations.minari import record_dataset
    from teach_gym.registration import env_id, short_name
    from teach_gym.teachers import make_teacher

    set_data_dir(data_dir)
    short, changes = parse_call(task_spec(task)[0], "task")
    short, chosen = short_name(short), make_teacher(teacher)
    flavour = "-continuous" if changes.get("continuous") else ""
    found = name or f"teach_gym/{short}{flavour}-{chosen.name}-v0"
    data = record_dataset(gym.make(env_id(short), **changes), chosen, found, episodes=episodes, seed=seed, folder=out)
    show(f"{data.total_episodes} episodes, {data.total_steps} steps: minari.load_dataset({found!r})")
    return 0


def reproduce(
    name: Positional[str] = "",
    /,
    *,
    seeds: str | None = None,
    out: Path | None = None,
    scale: str = "laptop",
    panels: tuple[str, ...] = (),
    workers: int | None = None,
    mapped: Annotated[bool, arg(name="map")] = False,
    listed: Annotated[bool, arg(name="list")] = False,
    data_dir: DataDir = None,
) -> int:
    """Run the experiments of the papers and judge their claims; started again after an interruption, it resumes.

    Args:
        name: Name of the experiment, or all (without a name, the experiments are listed).
        seeds: A number of seeds such as 20, or a list such as 3,4,7 (default: the scale's).
        out: Folder with a folder for each experiment (default: runs/papers-SCALE).
        scale: Size of the experiment: laptop, paper or smoke, or a further one that --list shows.
        panels: Only these panels; part of a name, such as MNIST, selects all panels that contain it (default: all).
        workers: Number of worker processes (default: one per CPU; experiments that measure seconds take one).
        mapped: Run the maps of where the claims hold instead: grids over settings that the papers leave open.
        listed: List the experiments.
        data_dir: Data folder.
    """
    from teach_gym.benchmark.suite import parse_seeds
    from teach_gym.papers import command

    if listed or not name:
        show(table(["Experiment", "Source", "Title", "Scales"], command.listing()))
        return 0
    set_data_dir(data_dir)
    folder = Path(f"runs/papers-{scale}") if out is None else out
    chosen = None if seeds is None else parse_seeds(seeds)
    return command.reproduce(
        name, folder, say, scale=scale, seeds=chosen, panels=panels, workers=workers, mapped=mapped
    )
