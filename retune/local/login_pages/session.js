"use strict";

// Runs before Prefect's UI on each of its pages. The UI sends what it finds in its own place as `Authorization: Basic …`,
// and forgets it when the first request fails for whatever reason, also because the person went on to another page.
{
  const ours = "retune-session";
  const half = localStorage.getItem(ours);
  if (half) localStorage.setItem("prefect-password", half);
  // The page to log in has led here, and may do so again.
  sessionStorage.removeItem("retune-session-seen");

  document.addEventListener(
    "click",
    (event) => {
      if (event.target.closest("button, a")?.textContent.trim() !== "Logout") return;
      localStorage.removeItem(ours);
      fetch("/retune/session", { method: "DELETE", keepalive: true });
    },
    true,
  );
}
