# The command line and the environments on the CPU, without torch; build with EXTRAS=agents,plots for training.
FROM python:3.11-slim
ARG EXTRAS=plots
WORKDIR /app
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY teach_gym teach_gym
RUN pip install --no-cache-dir ".[${EXTRAS}]" && useradd --create-home teacher
USER teacher
WORKDIR /home/teacher
ENTRYPOINT ["teach-gym"]
CMD ["--help"]
