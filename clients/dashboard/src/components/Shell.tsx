import { ActionIcon, Anchor, AppShell, Burger, Group, NavLink, Text, Title, Tooltip, useComputedColorScheme, useMantineColorScheme } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useSyncExternalStore } from "react";
import { NavLink as RouterLink, Outlet, useLocation, useNavigation } from "react-router";
import { session } from "../api/session";
import { ErrorBoundary } from "./ErrorBoundary";
import { SignIn } from "./SignIn";
import classes from "./Shell.module.css";

const PAGES = [
  { to: "/", label: "Explore" },
  { to: "/batch", label: "Batch" },
  { to: "/monitor", label: "Monitor" },
  { to: "/models", label: "Models" },
];

/** Head and navigation around every page. */
export function Shell() {
  const [opened, { toggle, close }] = useDisclosure(false);
  const { pathname } = useLocation();
  const busy = useNavigation().state !== "idle";
  return (
    <AppShell
      header={{ height: "3.25rem" }}
      navbar={{ width: 220, breakpoint: "sm", collapsed: { desktop: true, mobile: !opened } }}
      padding={{ base: "xs", sm: "md" }}
    >
      <a className={classes.skip} href="#main">Skip to content</a>
      <AppShell.Header>
        <Group h="100%" px="md" gap="sm" wrap="nowrap" justify="space-between">
          <Group gap="sm" wrap="nowrap">
            <Burger opened={opened} onClick={toggle} hiddenFrom="sm" size="sm" aria-label="Pages" />
            <Title order={1} size="h4" className={classes.brand}>ACIE</Title>
            <Text size="sm" c="dimmed" visibleFrom="md">counterfactuals of galaxies</Text>
          </Group>
          <Group gap={4} visibleFrom="sm" component="nav" aria-label="Pages">
            {PAGES.map(({ to, label }) => (
              <RouterLink key={to} to={to} end className={classes.link ?? ""}>{label}</RouterLink>
            ))}
          </Group>
          <Group gap="xs" wrap="nowrap">
            <Anchor href="/docs" size="sm" visibleFrom="sm" c="dimmed">API</Anchor>
            <SignOut />
            <SchemeSwitch />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" component="nav" aria-label="Pages">
        {PAGES.map(({ to, label }) => (
          <NavLink key={to} component={RouterLink} to={to} end label={label} active={pathname === to} onClick={close} />
        ))}
      </AppShell.Navbar>
      <AppShell.Main id="main" tabIndex={-1} aria-busy={busy}>
        <ErrorBoundary key={pathname}><Outlet /></ErrorBoundary>
      </AppShell.Main>
      <SignIn />
    </AppShell>
  );
}

function SignOut() {
  const { signedIn } = useSyncExternalStore(session.subscribe, session.snapshot);
  if (!signedIn) return null;
  return <Anchor component="button" size="sm" onClick={() => session.signOut()}>Sign out</Anchor>;
}

function SchemeSwitch() {
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme("light") === "dark";
  const label = dark ? "Light colours" : "Dark colours";
  return (
    <Tooltip label={label}>
      <ActionIcon variant="default" size="lg" aria-label={label} onClick={() => setColorScheme(dark ? "light" : "dark")}>
        <span aria-hidden>{dark ? "☀" : "☾"}</span>
      </ActionIcon>
    </Tooltip>
  );
}
