import { Button, Modal, PasswordInput, Stack, Text } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState, useSyncExternalStore } from "react";
import { session } from "../api/session";

/** Asks for a token when the server wants one. */
export function SignIn() {
  const { refused, signedIn } = useSyncExternalStore(session.subscribe, session.snapshot);
  const [token, setToken] = useState("");
  const client = useQueryClient();

  function submit(event: FormEvent) {
    event.preventDefault();
    if (!token.trim()) return;
    session.signIn(token);
    setToken("");
    void client.invalidateQueries();
  }

  return (
    <Modal opened={refused} onClose={() => undefined} withCloseButton={false} title="Sign in" centered>
      <form onSubmit={submit}>
        <Stack>
          <Text size="sm">
            {signedIn ? "The server did not accept this token." : "This server asks who you are."} Paste a token or
            an API key; an operator makes one with <code>acie token</code>. It is forgotten when the tab is closed.
          </Text>
          <PasswordInput
            label="Token or API key"
            value={token}
            onChange={(event) => setToken(event.currentTarget.value)}
            autoComplete="off"
            data-autofocus
          />
          <Button type="submit" disabled={!token.trim()}>Sign in</Button>
        </Stack>
      </form>
    </Modal>
  );
}
