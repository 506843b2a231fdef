"""Programs that use the store as its users do: through the SDK and nothing deeper."""

import os

# These are programs, whose standard error is their own: grpc's remarks on connections that
# came to an end do not belong there. Read when grpc is imported, which is after this.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
