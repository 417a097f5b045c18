import { Container } from "@mantine/core";
import { isRouteErrorResponse, useRouteError } from "react-router";
import { ProblemAlert } from "./ProblemAlert";

/** What is shown where a page failed, or where there is none. */
export function RouteError() {
  const error = useRouteError();
  const shown = isRouteErrorResponse(error) && error.status === 404
    ? new Error("There is no such page. Choose one above.")
    : error;
  return (
    <Container py="xl">
      <ProblemAlert error={shown} retry={() => window.location.reload()} />
    </Container>
  );
}
