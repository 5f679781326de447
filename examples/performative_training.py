"""Performative teaching in an ordinary PyTorch training loop: split the network and replace three lines with one."""

import torch
from sklearn.datasets import load_digits
from torch import nn

from teach_gym.neural.performative import performative_step
from teach_gym.neural.teaching import Teaching

torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x / 8 - 1).float(), torch.tensor(y)
order = torch.randperm(len(x))
train, test = order[:1300], order[1300:]

for name, teaching in (("plain SGD", Teaching(policy="none")), ("performative", Teaching(epsilon=0.1))):
    torch.manual_seed(1)
    encoder, head = nn.Sequential(nn.Linear(64, 64), nn.ReLU()), nn.Linear(64, 10)
    optimizer = torch.optim.SGD([*encoder.parameters(), *head.parameters()], lr=0.05)
    for _ in range(10):
        for rows in train[torch.randperm(len(train))].split(64):
            # loss = nn.functional.cross_entropy(head(encoder(x[rows])), y[rows])
            # loss.backward(); optimizer.step(); optimizer.zero_grad()
            performative_step(encoder, head, (x[rows], y[rows]), optimizer, teaching=teaching)
    with torch.no_grad():
        right = head(encoder(x[test])).argmax(-1) == y[test]
    print(f"{name:12s} {100 * right.float().mean():.1f} per cent of the test digits classified correctly")
