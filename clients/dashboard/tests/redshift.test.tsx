// @vitest-environment jsdom
import { MantineProvider } from "@mantine/core";
import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import type { ComponentProps } from "react";
import { describe, expect, it, vi } from "vitest";
import { RedshiftField } from "../src/features/explore/RedshiftField";
import { parseRedshift, redshiftOf, withRedshift } from "../src/lib/redshift";
import "./browser";

describe("redshifts as texts", () => {
  it.each([["0.0828", 0.0828], [" z = 0.1", 0.1], ["1e-2", 0.01], ["−0.01", -0.01], ["Estimate", "estimate"], ["", null]])("reads %j", (text, value) => {
    expect(parseRedshift(text)).toBe(value);
  });
  it.each(["0,08", "abc", "0.1.2", "z=", "Infinity", "NaN"])("refuses %j", (text) => expect(parseRedshift(text)).toBeUndefined());
  it.each([0.1, "estimate", null] as const)("come back from a link: %j", (given) => {
    expect(redshiftOf(withRedshift(new URLSearchParams("do=sfr*=2&redshift=9"), given))).toBe(given);
  });
  it("are left out of a link that cannot be read", () => expect(redshiftOf(new URLSearchParams("redshift=<b>"))).toBeNull());
});

describe("the field", () => {
  function show(props: Partial<ComponentProps<typeof RedshiftField>>) {
    const onGive = vi.fn();
    render(<MantineProvider><RedshiftField read={0.0828} given={null} used={0.0828} problem={null} onGive={onGive} {...props} /></MantineProvider>);
    return { onGive, input: screen.getByLabelText<HTMLInputElement>("redshift"), user: userEvent.setup() };
  }

  it("shows what was read and is typed over", async () => {
    const { onGive, input, user } = show({});
    expect(input.value).toBe("0.0828");
    await user.click(input);
    await user.tab();
    expect(onGive).not.toHaveBeenCalled();
    await user.clear(input);
    await user.type(input, "0.1{Enter}");
    expect(onGive).toHaveBeenCalledExactlyOnceWith(0.1);
  });

  it("says what is no number, and asks nothing", async () => {
    const { onGive, input, user } = show({});
    await user.clear(input);
    await user.type(input, "0,1{Enter}");
    expect(screen.getByRole("alert").textContent).toContain("found 0,1");
    expect(onGive).not.toHaveBeenCalled();
    await user.keyboard("{Escape}");
    expect(input.value).toBe("0.0828");
  });

  it("says what the service has against it", () => {
    const { input } = show({ given: 2, used: null, problem: "Outside support: expected a value in 0.005 to 0.6, found 2." });
    expect(input.value).toBe("2");
    expect(input.getAttribute("aria-invalid")).toBe("true");
    expect(screen.getByRole("alert").textContent).toContain("0.005 to 0.6");
  });

  it("is estimated by a click, and goes back to what was read", async () => {
    const { onGive, user } = show({ given: 0.1, used: 0.1 });
    await user.click(screen.getByRole("button", { name: "Estimate" }));
    await user.click(screen.getByRole("button", { name: "As read" }));
    expect(onGive.mock.calls).toEqual([["estimate"], [null]]);
  });

  it("has nothing to go back to where the file says nothing", () => {
    const { input } = show({ read: null, used: null });
    expect(input.placeholder).toBe("estimating");
    expect(screen.queryByRole("button")).toBeNull();
  });
});
