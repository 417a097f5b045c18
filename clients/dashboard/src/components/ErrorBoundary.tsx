import { Component, type ReactNode } from "react";
import { ProblemAlert } from "./ProblemAlert";

interface Props {
  children: ReactNode;
}

/** Keeps an error of one part of the page from taking the rest with it. */
export class ErrorBoundary extends Component<Props, { error: unknown }> {
  override state: { error: unknown } = { error: null };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    if (this.state.error === null) return this.props.children;
    return <ProblemAlert error={this.state.error} retry={() => this.setState({ error: null })} />;
  }
}
