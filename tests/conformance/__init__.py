"""minitorch against PyTorch's own database of operators (`op_db`): values, dtypes, gradients.

python -m tests.conformance            # the table, name by name, and the sums
python -m tests.conformance add cat -v # some names, with what differs
python -m tests.conformance --device=sim add
python -m tests.conformance --write    # covered.txt: the names that there are

For each name of the database minitorch's function or method of that name is called with the
samples that PyTorch tests its own with, and with those that have to raise.
"""
