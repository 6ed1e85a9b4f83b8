"""The lecture's own listing: y = 3√x · (log x + 1/x²) at 1.2, with only the import changed."""

import minitorch as torch

torch.set_printoptions(precision=2)

x = torch.tensor(1.2, requires_grad=True)
z2 = 3 * torch.sqrt(x)
z3 = torch.log(x)
z4 = 1 / x
z1 = z4**2 + z3
y = z1 * z2
for z in (y, z1, z2, z3, z4):
    z.retain_grad()
y.backward()

print("x ", x.data, x.grad)
print("z2", z2.data, z2.grad)
print("z3", z3.data, z3.grad)
print("z4", z4.data, z4.grad)
print("z1", z1.data, z1.grad)
print("y ", y.data, y.grad)
