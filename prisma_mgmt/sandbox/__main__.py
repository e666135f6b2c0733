"""Serve the sandbox from the command line: `python -m prisma_mgmt.sandbox`."""

import argparse
import signal
import sys
import time


def main() -> int:
    options = _parse_options()
    for end in (signal.SIGINT, signal.SIGTERM):  # a shell's background job has Ctrl-C ignored
        signal.signal(end, signal.default_int_handler)
    try:
        from prisma_mgmt.sandbox import Sandbox

        with Sandbox(
            port=options.port,
            personality=options.personality,
            auto_approve=options.auto_approve,
            token_lifetime=options.token_lifetime,
        ) as sandbox:
            print(f"API            {sandbox.api_url}")
            print(f"Login          {sandbox.auth_url}")
            print(f"Client id      {sandbox.client_id}")
            print(f"Service token  {sandbox.service_token}", flush=True)
            while True:
                time.sleep(3600)
    except (ImportError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m prisma_mgmt.sandbox", description="A local Prisma, till Ctrl-C.")
    parser.add_argument("--port", type=int, default=0, help="a free one by default")
    parser.add_argument("--personality", choices=("strict", "grace"), default="strict", help="what token reuse does")
    parser.add_argument("--token-lifetime", type=float, default=3600.0, metavar="SECONDS")
    parser.add_argument("--auto-approve", action="store_true", help="log in without the consent page")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
